/* Waiting for a signal: sigsuspend, pause, sigwaitinfo, ppoll with a mask; masks afterwards are those from before. */
#include "blocked_calls.h"

#include <poll.h>

static volatile int seen[65];
static pthread_t threads[4];

static void on_signal(int number) {
    seen[number]++;
}

static void block(int number) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, number);
    must(pthread_sigmask(SIG_SETMASK, &set, NULL));
}

/* The mask must be what block() has set, however the wait changed it. */
static long mask_is(int number, long result) {
    sigset_t now;
    pthread_sigmask(SIG_SETMASK, NULL, &now);
    for (int i = 1; i <= 64; i++)
        if (sigismember(&now, i) != (i == number))
            return -1000 - i;
    return result;
}

static long call_sigsuspend(void) {
    threads[0] = pthread_self();
    block(40);
    uint64_t all_but_40 = ~(1ULL << 39);
    long result = raw(SYS_rt_sigsuspend, &all_but_40, 8);
    return seen[40] == 1 ? mask_is(40, result) : -2000;
}
static void wake_sigsuspend(void) {
    check(seen[40] == 0, "sigsuspend has ended");
    pthread_kill(threads[0], 40);
}

static long call_pause(void) {
    threads[1] = pthread_self();
    block(50);
    long result = raw(SYS_pause);
    return seen[41] == 1 ? mask_is(50, result) : -2000;
}
static void wake_pause(void) {
    pthread_kill(threads[1], 41);
}

static long call_sigwaitinfo(void) {
    threads[2] = pthread_self();
    block(42);
    siginfo_t info;
    uint64_t set = 1ULL << 41;
    long result;
    /* As every caller of sigwaitinfo has to: the kernel lets a stop interrupt it. */
    do
        result = raw(SYS_rt_sigtimedwait, &set, &info, NULL, 8);
    while (result == -EINTR);
    return seen[42] ? -2000 : mask_is(42, result);
}
static void wake_sigwaitinfo(void) {
    pthread_kill(threads[2], 42);
}

static long call_ppoll(void) {
    threads[3] = pthread_self();
    block(43);
    uint64_t all_but_43 = ~(1ULL << 42);
    long result = raw(SYS_ppoll, NULL, 0, NULL, &all_but_43, 8);
    return seen[43] == 1 ? mask_is(43, result) : -2000;
}
static void wake_ppoll(void) {
    pthread_kill(threads[3], 43);
}

static struct blocked_call calls[] = {
    {"sigsuspend", call_sigsuspend, -EINTR, wake_sigsuspend},
    {"pause", call_pause, -EINTR, wake_pause},
    {"sigwaitinfo", call_sigwaitinfo, 42, wake_sigwaitinfo},
    {"ppoll", call_ppoll, -EINTR, wake_ppoll},
};

int main(int argc, char **argv) {
    test_init(argc, argv);
    for (int i = 40; i < 44; i++)
        signal(i, on_signal);
    start_blocked_calls(calls, ARRAY_SIZE(calls));
    test_daemon();
    test_waitsig();
    finish_blocked_calls(calls, ARRAY_SIZE(calls));
    return pass();
}
