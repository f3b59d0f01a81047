/* Calls that the kernel never restarts after a signal handler (epoll_wait, sigtimedwait, ...) with a time limit: a
 * checkpoint is no signal, so they return their timeout; the time before the checkpoint may count or not. */
#include "blocked_calls.h"

#include <sys/epoll.h>

#define SECONDS 3

static int epoll;

static long call_epoll_wait(void) {
    struct epoll_event event;
    return raw(SYS_epoll_wait, epoll, &event, 1, SECONDS * 1000);
}
static long call_epoll_pwait2(void) {
    struct epoll_event event;
    struct timespec limit = {SECONDS, 0};
    return raw(SYS_epoll_pwait2, epoll, &event, 1, &limit, NULL, 8);
}
static long call_sigtimedwait(void) {
    uint64_t set = 1ULL << (SIGUSR2 - 1);
    struct timespec limit = {SECONDS, 0};
    return raw(SYS_rt_sigtimedwait, &set, NULL, &limit, 8);
}

static struct blocked_call calls[] = {
    {"epoll_wait", call_epoll_wait, 0, NULL},
    {"epoll_pwait2", call_epoll_pwait2, 0, NULL},
    {"sigtimedwait", call_sigtimedwait, -EAGAIN, NULL},
};

int main(int argc, char **argv) {
    test_init(argc, argv);
    epoll = must(epoll_create1(0));
    start_blocked_calls(calls, ARRAY_SIZE(calls));
    int64_t start = now_ns(CLOCK_MONOTONIC);
    test_daemon();
    test_waitsig();
    int64_t down = now_ns(CLOCK_MONOTONIC) - start;
    for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
        pthread_join(calls[i].thread, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
        /* These calls return -EINTR after PTRACE_INTERRUPT in the kernel itself; a tool may restart them for the task.
         */
        check(calls[i].result == calls[i].expected || calls[i].result == -EINTR, "%s returned %ld", calls[i].name,
              calls[i].result);
        check(calls[i].nanoseconds <= SECONDS * 1000000000LL + down + 1000000000, "%s: slept %ld ms", calls[i].name,
              (long)calls[i].nanoseconds / 1000000);
    }
    return pass();
}
