/* Children stopped by different signals: they stay stopped, are reported as such, and go on after SIGCONT. */
#include "zdtm.h"

static const int kSignals[] = {SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU};
static volatile int continued;

static void on_continue(int number) {
    (void)number;
    continued++;
}

static int body(void *unused) {
    (void)unused;
    /* Members of an orphaned process group ignore the stop signals of terminals. */
    must(setpgid(0, 0));
    signal(SIGCONT, on_continue);
    child_wait();
    return continued ? 0 : 3;
}

static char state_of(pid_t pid) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/status", pid);
    char *text = proc_value(path, "State:");
    return text ? text[0] : '?';
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    pid_t children[ARRAY_SIZE(kSignals)];
    for (size_t i = 0; i < ARRAY_SIZE(kSignals); i++) {
        int status;
        children[i] = spawn(body, NULL);
        must(kill(children[i], kSignals[i]));
        /* The second one's stop is still to be waited for after restore. */
        if (i == 1)
            while (state_of(children[i]) != 'T')
                sleep_ms(1);
        else
            must(waitpid(children[i], &status, WUNTRACED));
    }
    test_daemon();
    test_waitsig();
    for (size_t i = 0; i < ARRAY_SIZE(kSignals); i++) {
        siginfo_t info = {};
        check(waitid(P_PID, children[i], &info, WSTOPPED | WNOHANG) == 0 && info.si_pid == children[i] &&
                  info.si_status == kSignals[i],
              "child %zu: stopped by %d instead of %d", i, info.si_status, kSignals[i]);
    }
    for (size_t i = 0; i < ARRAY_SIZE(kSignals); i++)
        check(state_of(children[i]) == 'T', "child %zu is in state %c", i, state_of(children[i]));
    for (size_t i = 0; i < ARRAY_SIZE(kSignals); i++) {
        int status;
        /* SIGTERM must not end a stopped task. */
        must(kill(children[i], SIGTERM));
        check(state_of(children[i]) == 'T', "child %zu woke up", i);
        must(kill(children[i], SIGCONT));
        check(waitpid(children[i], &status, 0) == children[i] && status == 0, "child %zu: status %#x", i, status);
    }
    return pass();
}
