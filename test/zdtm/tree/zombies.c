/* Dead children that nobody has waited for: their statuses (exit codes, signals, core flag) and their order. */
#include "zdtm.h"

#include <sys/resource.h>

static const int kCodes[] = {0, 1, 42, 255};
static const int kSignals[] = {SIGKILL, SIGTERM, SIGSEGV, SIGUSR1, 40};

int main(int argc, char **argv) {
    pid_t exited[ARRAY_SIZE(kCodes)], killed[ARRAY_SIZE(kSignals)];
    int status[ARRAY_SIZE(kSignals)];
    test_init(argc, argv);
    /* No core file may appear. */
    must(setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}));
    for (size_t i = 0; i < ARRAY_SIZE(kCodes); i++)
        if ((exited[i] = must(fork())) == 0)
            _exit(kCodes[i]);
    for (size_t i = 0; i < ARRAY_SIZE(kSignals); i++)
        if ((killed[i] = must(fork())) == 0) {
            signal(kSignals[i], SIG_DFL);
            raise(kSignals[i]);
            _exit(99);
        }
    siginfo_t info;
    for (size_t i = 0; i < ARRAY_SIZE(kCodes); i++)
        must(waitid(P_PID, exited[i], &info, WEXITED | WNOWAIT));
    for (size_t i = 0; i < ARRAY_SIZE(kSignals); i++) {
        must(waitid(P_PID, killed[i], &info, WEXITED | WNOWAIT));
        status[i] = info.si_status | (info.si_code == CLD_DUMPED ? 0x80 : 0);
    }

    test_daemon();
    test_waitsig();

    for (size_t i = 0; i < ARRAY_SIZE(kCodes); i++)
        expect_wait_status(exited[i], kCodes[i] << 8);
    for (size_t i = 0; i < ARRAY_SIZE(kSignals); i++)
        expect_wait_status(killed[i], status[i]);
    check(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD, "there are more children than before");
    return pass();
}
