/* Working directory and umask that two processes share (CLONE_FS). */
#include "zdtm.h"

static int body(void *unused) {
    (void)unused;
    child_wait();
    char text[4096];
    check(getcwd(text, sizeof(text)) && !strcmp(text, "/proc"), "the child is in %s", text);
    check(umask(0123) == 0757, "umask is not shared");
    return 0;
}

static int unshared(void *unused) {
    char before[4096], after[4096];
    (void)unused;
    must(getcwd(before, sizeof(before)) ? 0 : -1);
    child_wait();
    check(getcwd(after, sizeof(after)) && !strcmp(before, after), "working directory of the other child: %s", after);
    check(umask(0) == 0333, "umask of the other child");
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    umask(0333);
    pid_t alone = spawn(unshared, NULL);
    pid_t child = spawn_flags(CLONE_FS | SIGCHLD, body, NULL);
    must(chdir("/dev"));
    test_daemon();
    test_waitsig();
    char text[4096];
    check(getcwd(text, sizeof(text)) && !strcmp(text, "/dev"), "working directory is %s", text);
    must(chdir("/proc"));
    umask(0757);
    finish_child(child);
    check(umask(0) == 0123, "umask is not shared");
    finish_child(alone);
    return pass();
}
