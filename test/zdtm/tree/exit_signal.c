/* Children whose parent wanted another signal than SIGCHLD, or none, when they end. */
#include "zdtm.h"

static const int kSignals[] = {SIGCHLD, SIGUSR1, 0, 40};
static volatile int seen[65];

static void count(int number, siginfo_t *info, void *context) {
    (void)context;
    seen[number]++;
    (void)info;
}

static int body(void *unused) {
    (void)unused;
    child_wait();
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    pid_t children[ARRAY_SIZE(kSignals)];
    struct sigaction action = {.sa_sigaction = count, .sa_flags = SA_SIGINFO};
    for (size_t i = 0; i < ARRAY_SIZE(kSignals); i++)
        children[i] = spawn_flags(kSignals[i], body, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(kSignals); i++)
        if (kSignals[i])
            must(sigaction(kSignals[i], &action, NULL));
    test_daemon();
    test_waitsig();
    memset((void *)seen, 0, sizeof(seen));
    for (size_t i = 0; i < ARRAY_SIZE(kSignals); i++) {
        must(kill(children[i], SIGTERM));
        int status;
        pid_t found;
        while ((found = waitpid(children[i], &status, __WALL)) == -1 && errno == EINTR)
            continue;
        check(found == children[i] && status == 0, "child %zu: status %#x", i, status);
        int total = 0;
        for (int number = 1; number <= 64; number++)
            total += seen[number];
        check(total == (kSignals[i] ? 1 : 0) && (!kSignals[i] || seen[kSignals[i]] == 1),
              "child %zu: %d signals, %d of the right kind", i, total, seen[kSignals[i]]);
        memset((void *)seen, 0, sizeof(seen));
    }
    return pass();
}
