/* A process that does nothing but wait: the smallest checkpoint there is. */
#include "zdtm.h"

int main(int argc, char **argv) {
    test_init(argc, argv);
    pid_t pid = getpid(), session = getsid(0);
    test_daemon();
    test_waitsig();
    check(getpid() == pid, "pid %d instead of %d", getpid(), pid);
    check(getsid(0) == session, "session %d instead of %d", getsid(0), session);
    return pass();
}
