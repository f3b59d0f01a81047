/* System calls that end with their time limit: each sleeps its whole time, not longer by much, and never sees EINTR. */
/* Longer than a checkpoint and a restore take, so that some of it is left afterwards. */
#define SECONDS 4
#include "limited_calls.h"

static struct timespec deadline(clockid_t clock) {
    int64_t end = now_ns(clock) + SECONDS * 1000000000LL;
    return (struct timespec){end / 1000000000, end % 1000000000};
}

static long call_clock_nanosleep_abs(void) {
    struct timespec end = deadline(CLOCK_MONOTONIC);
    return raw(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL);
}
static long call_clock_nanosleep_real(void) {
    struct timespec end = deadline(CLOCK_REALTIME);
    return raw(SYS_clock_nanosleep, CLOCK_REALTIME, TIMER_ABSTIME, &end, NULL);
}
static long call_futex_private_abs(void) {
    struct timespec end = deadline(CLOCK_MONOTONIC);
    return raw(SYS_futex, &word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, 0, &end, NULL, 1);
}
static long call_futex_realtime(void) {
    struct timespec end = deadline(CLOCK_REALTIME);
    return raw(SYS_futex, &word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 0, &end, NULL, 1);
}

static struct blocked_call calls[] = {
    LIMITED_CALLS,
    {"clock_nanosleep, absolute", call_clock_nanosleep_abs, 0, NULL},
    {"clock_nanosleep, absolute real time", call_clock_nanosleep_real, 0, NULL},
    {"futex, private, absolute", call_futex_private_abs, -ETIMEDOUT, NULL},
    {"futex, real time", call_futex_realtime, -ETIMEDOUT, NULL},
};

int main(int argc, char **argv) {
    test_init(argc, argv);
    int ends[2];
    must(pipe(ends));
    reader = ends[0];
    start_blocked_calls(calls, ARRAY_SIZE(calls));
    int64_t start = now_ns(CLOCK_MONOTONIC);
    test_daemon();
    test_waitsig();
    int64_t down = now_ns(CLOCK_MONOTONIC) - start;
    finish_blocked_calls(calls, ARRAY_SIZE(calls));
    for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
        check(calls[i].nanoseconds >= SECONDS * 1000000000LL, "%s: slept only %ld ms", calls[i].name,
              (long)calls[i].nanoseconds / 1000000);
        check(calls[i].nanoseconds <= SECONDS * 1000000000LL + down + 1000000000, "%s: slept %ld ms", calls[i].name,
              (long)calls[i].nanoseconds / 1000000);
    }
    return pass();
}
