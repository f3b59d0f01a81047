/* Signal actions: handlers, their flags and masks, ignored and default ones. */
#include "zdtm.h"

struct kernel_sigaction {
    void *handler;
    unsigned long flags;
    void *restorer;
    uint64_t mask;
};

static volatile int seen_signal;

static void plain(int number) {
    seen_signal = number;
}
static void detailed(int number, siginfo_t *info, void *context) {
    (void)context;
    seen_signal = number + info->si_value.sival_int;
}

static void get(int number, struct kernel_sigaction *action) {
    must(syscall(SYS_rt_sigaction, number, NULL, action, 8));
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    static const int kFlags[] = {0, SA_RESTART, SA_NODEFER, SA_RESETHAND, SA_NOCLDSTOP, SA_NOCLDWAIT, SA_ONSTACK};
    for (int number = 1; number <= 64; number++) {
        if (number == SIGKILL || number == SIGSTOP || number == SIGTERM || number == 32 || number == 33)
            continue;
        struct sigaction action = {.sa_flags = kFlags[number % ARRAY_SIZE(kFlags)]};
        sigemptyset(&action.sa_mask);
        if (number % 4 == 0) {
            action.sa_handler = SIG_IGN;
        } else if (number % 4 == 1) {
            action.sa_sigaction = detailed;
            action.sa_flags |= SA_SIGINFO;
        } else if (number % 4 == 2) {
            action.sa_handler = plain;
        } else {
            action.sa_handler = SIG_DFL;
        }
        for (int i = 1; i <= 64; i += number)
            sigaddset(&action.sa_mask, i);
        must(sigaction(number, &action, NULL));
    }
    static struct kernel_sigaction before[65], after;
    for (int number = 1; number <= 64; number++)
        get(number, &before[number]);

    test_daemon();
    test_waitsig();

    for (int number = 1; number <= 64; number++) {
        get(number, &after);
        check(!memcmp(&after, &before[number], sizeof(after)), "action of signal %d: handler %p flags %#lx mask %#lx",
              number, after.handler, after.flags, (unsigned long)after.mask);
    }
    raise(SIGUSR1); /* 10: plain */
    check(seen_signal == SIGUSR1, "handler was not called");
    union sigval value = {.sival_int = 100};
    must(sigqueue(getpid(), 41, value)); /* 41 % 4 == 1: detailed */
    check(seen_signal == 141, "handler with details was not called");
    return pass();
}
