/* A job of somebody else's session (--shell-job): it is restored into the session of the tool's caller. */
#include "zdtm.h"

static int body(void *unused) {
    (void)unused;
    child_wait();
    check(getpgrp() == getppid(), "the child's group is %d", getpgrp());
    return 0;
}

int main(int argc, char **argv) {
    test_init_no_session(argc, argv);
    must(setpgid(0, 0));
    pid_t child = spawn(body, NULL);
    pid_t pid = getpid();
    test_daemon();
    test_waitsig();
    check(getpgrp() == pid, "group is %d", getpgrp());
    check(getsid(0) != pid, "has become a session leader");
    finish_child(child);
    return pass();
}
