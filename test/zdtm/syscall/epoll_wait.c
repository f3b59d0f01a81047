/* epoll_wait without a limit, as servers do: woken by what happens after the restore. */
#include "blocked_calls.h"

#include <sys/epoll.h>

static int epoll, ends[2];

static long call(void) {
    struct epoll_event event = {0};
    long result;
    do
        result = raw(SYS_epoll_wait, epoll, &event, 1, -1);
    while (result == -EINTR);
    return result == 1 ? (long)event.data.u64 : -1000 + result;
}
static void wake(void) {
    must(write(ends[1], "x", 1));
}

static struct blocked_call calls[] = {{"epoll_wait", call, 0x123456789a, wake}};

int main(int argc, char **argv) {
    test_init(argc, argv);
    must(pipe(ends));
    epoll = must(epoll_create1(EPOLL_CLOEXEC));
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = 0x123456789a};
    must(epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event));
    start_blocked_calls(calls, 1);
    test_daemon();
    test_waitsig();
    finish_blocked_calls(calls, 1);
    return pass();
}
