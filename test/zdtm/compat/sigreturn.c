/* Handlers of a 32-bit program that return by the vdso: without a restorer, plain and with details, set by int 0x80. */
#include "zdtm.h"

struct kernel_action {
    void *handler;
    unsigned int flags;
    void *restorer;
    unsigned int mask[2];
};

static volatile int seen, value;

static long call(long number, long a, long b, long c, long d) {
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "0"(number), "b"(a), "c"(b), "d"(c), "S"(d) : "memory");
    return result;
}
static void __attribute__((regparm(0))) plain(int number) {
    seen = number;
}
static void __attribute__((regparm(0))) detailed(int number, siginfo_t *info, void *context) {
    seen = number;
    value = context ? info->si_value.sival_int : 0;
}
static void set(int number, void *handler, unsigned int flags) {
    struct kernel_action action = {handler, flags, NULL, {1u << (SIGUSR1 - 1), 1u << (40 - 32 - 1)}};
    check(call(SYS_rt_sigaction, number, (long)&action, 0, 8) == 0, "rt_sigaction");
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    set(SIGUSR2, plain, SA_RESTART);
    set(SIGRTMIN + 3, detailed, SA_SIGINFO | SA_RESTART);
    test_daemon();
    test_waitsig();
    call(SYS_kill, call(SYS_getpid, 0, 0, 0, 0), SIGUSR2, 0, 0);
    check(seen == SIGUSR2, "the plain handler was not called");
    union sigval sent = {.sival_int = 77};
    must(sigqueue(getpid(), SIGRTMIN + 3, sent));
    check(seen == SIGRTMIN + 3 && value == 77, "the handler with details was called with %d", value);
    struct kernel_action action;
    check(call(SYS_rt_sigaction, SIGUSR2, 0, (long)&action, 8) == 0, "rt_sigaction");
    check(action.handler == (void *)plain && action.mask[0] == 1u << (SIGUSR1 - 1) && action.mask[1] == 1u << (40 - 32 - 1), "the action is another: mask %#x %#x", action.mask[0], action.mask[1]);
    return pass();
}
