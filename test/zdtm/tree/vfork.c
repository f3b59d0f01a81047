/* A parent that waits in vfork for its child. */
#include "zdtm.h"

/* The parent cannot run its handler before the child is gone. */
static bool term_is_pending(pid_t pid) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/status", pid);
    char *set = proc_value(path, "ShdPnd:");
    bool pending = set && strtoul(set, NULL, 16) >> (SIGTERM - 1) & 1;
    free(set);
    return pending;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    volatile int by_child = 0;
    pid_t child = vfork();
    if (child == 0) {
        test_daemon();
        while (!term_is_pending(getppid()))
            sleep_ms(1);
        by_child = 1;
        _exit(7);
    }
    check(by_child == 1, "memory is not the child's");
    expect_wait_status(child, 7 << 8);
    test_waitsig();
    return pass();
}
