/* System calls with a time limit, a good part of which has passed at the checkpoint: after the restore they wait for
 * what is left, not their whole time again. While the tree is not there time stands still. */
/* Before the checkpoint passes the larger part; how late a loaded machine may be is half of that. */
#define BEFORE_MS 4000
#define SECONDS 6
#define TOLERANCE_MS 2000
#include "limited_calls.h"

#include <sys/epoll.h>

static int epoll;
static struct timespec rest[2];

static long call_nanosleep_rest(void) {
    struct timespec limit = LIMIT;
    return raw(SYS_nanosleep, &limit, &rest[0]);
}
static long call_nanosleep_same(void) {
    struct timespec limit = LIMIT;
    return raw(SYS_nanosleep, &limit, &limit);
}
static long call_clock_nanosleep_real(void) {
    struct timespec limit = LIMIT;
    return raw(SYS_clock_nanosleep, CLOCK_REALTIME, 0, &limit, NULL);
}
static long call_clock_nanosleep_rest(void) {
    struct timespec limit = LIMIT;
    return raw(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &limit, &rest[1]);
}
static long call_futex_private(void) {
    struct timespec limit = LIMIT;
    return raw(SYS_futex, &word, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 0, &limit, NULL, 0);
}
/* The kernel keeps all registers of a call but its result and what the instruction itself takes: compilers count on it.
 */
static long call_registers(void) {
    struct timespec limit = LIMIT, left = {0, 0};
    const void *request = &limit, *where = &left;
    long result = SYS_nanosleep;
    __asm__ volatile("syscall" : "+a"(result), "+D"(request), "+S"(where) : : "rcx", "r11", "memory");
    if (request != &limit || where != &left)
        return -1000;
    return result;
}
static long call_poll_registers(void) {
    struct pollfd fd = {reader, POLLIN, 0}, *fds = &fd;
    long result = SYS_poll, limit = SECONDS * 1000;
    __asm__ volatile("syscall" : "+a"(result), "+D"(fds), "+d"(limit) : "S"(1L) : "rcx", "r11", "memory");
    if (fds != &fd || limit != SECONDS * 1000)
        return -1000;
    return result;
}

/* By the C library's function: only then can the tool be sure that nobody looks at the argument again. */
static long call_epoll_wait(void) {
    struct epoll_event event;
    return raw_result(epoll_wait(epoll, &event, 1, SECONDS * 1000));
}
static long call_epoll_pwait(void) {
    struct epoll_event event;
    return raw_result(epoll_pwait(epoll, &event, 1, SECONDS * 1000, &nothing));
}

static struct blocked_call calls[] = {
    LIMITED_CALLS,
    {"nanosleep that tells the rest", call_nanosleep_rest, 0, NULL},
    {"nanosleep that tells the rest in place", call_nanosleep_same, 0, NULL},
    {"clock_nanosleep, real time", call_clock_nanosleep_real, 0, NULL},
    {"clock_nanosleep that tells the rest", call_clock_nanosleep_rest, 0, NULL},
    {"futex, private", call_futex_private, -ETIMEDOUT, NULL},
    {"epoll_wait", call_epoll_wait, 0, NULL},
    {"epoll_pwait", call_epoll_pwait, 0, NULL},
    {"nanosleep, by its registers", call_registers, 0, NULL},
    {"poll, by its registers", call_poll_registers, 0, NULL},
};

int main(int argc, char **argv) {
    test_init(argc, argv);
    int ends[2];
    must(pipe(ends));
    reader = ends[0];
    epoll = must(epoll_create1(0));
    start_blocked_calls(calls, ARRAY_SIZE(calls));
    sleep_ms(BEFORE_MS);
    test_daemon();
    int64_t ready = now_ns(CLOCK_MONOTONIC);
    test_waitsig();
    int64_t down = now_ns(CLOCK_MONOTONIC) - ready;
    finish_blocked_calls(calls, ARRAY_SIZE(calls));
    for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
        long took = (long)(calls[i].nanoseconds / 1000000);
        check(took >= SECONDS * 1000, "%s: slept only %ld ms", calls[i].name, took);
        check(took <= SECONDS * 1000 + down / 1000000 + TOLERANCE_MS,
              "%s: slept %ld ms, of which it was away at most %ld", calls[i].name, took, (long)(down / 1000000));
    }
    return pass();
}
