/* A SIGSTOP that waits, as shells leave them in jobs that they stop before these have run: it must not stop the restore. */
#include "zdtm.h"

static char state_of(pid_t pid) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/status", pid);
    char *state = proc_value(path, "State:");
    char letter = state ? state[0] : 0;
    free(state);
    return letter;
}

static bool stop_is_pending(pid_t pid) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/status", pid);
    char *set = proc_value(path, "ShdPnd:");
    bool pending = set && strtoul(set, NULL, 16) >> (SIGSTOP - 1) & 1;
    free(set);
    return pending;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    pid_t child = must(fork());
    if (child == 0) {
        raise(SIGSTOP);
        _exit(7);
    }
    int status;
    must(waitpid(child, &status, WUNTRACED));
    /* One that is stopped does not take the second. */
    must(kill(child, SIGSTOP));
    must(stop_is_pending(child) ? 0 : -1);
    test_daemon();
    test_waitsig();
    check(state_of(child) == 'T', "the child is not stopped: %c", state_of(child));
    must(kill(child, SIGCONT));
    expect_wait_status(child, 7 << 8);
    return pass();
}
