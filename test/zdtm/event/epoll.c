/* epoll: interest lists with events and data over pipes, eventfds and timers; level, edge, one-shot (fired and not),
 * nested instances, and one description under two numbers. */
#include "zdtm.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>

static void add(int epoll, int fd, uint32_t events, uint64_t data) {
    struct epoll_event event = {.events = events, .data.u64 = data};
    must(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
}

/* Events that are ready now, as a set of their data (below 64). */
static uint64_t ready(int epoll) {
    struct epoll_event events[64];
    int count = epoll_wait(epoll, events, 64, 0);
    uint64_t set = 0;
    for (int i = 0; i < count; i++)
        set |= 1ULL << events[i].data.u64;
    return count < 0 ? ~0ULL : set;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    int epoll = must(epoll_create1(EPOLL_CLOEXEC)), outer = must(epoll_create1(0)), empty = must(epoll_create1(0));
    int level[2], edge[2], once[2], fired[2], quiet[2];
    must(pipe(level));
    must(pipe(edge));
    must(pipe(once));
    must(pipe(fired));
    must(pipe(quiet));
    int event = must(eventfd(0, EFD_NONBLOCK)), twin = must(dup(event));
    add(epoll, level[0], EPOLLIN, 1);
    add(epoll, edge[0], EPOLLIN | EPOLLET, 2);
    add(epoll, once[0], EPOLLIN | EPOLLONESHOT, 3);
    add(epoll, fired[0], EPOLLIN | EPOLLONESHOT, 4);
    add(epoll, quiet[0], EPOLLIN | EPOLLRDHUP | EPOLLPRI, 5);
    add(epoll, event, EPOLLIN, 6);
    add(epoll, twin, EPOLLIN, 7);
    add(outer, epoll, EPOLLIN, 8);
    must(write(level[1], "x", 1));
    must(write(fired[1], "x", 1));
    check(ready(epoll) == (1ULL << 1 | 1ULL << 4), "set-up");

    test_daemon();
    test_waitsig();

    check(fcntl(epoll, F_GETFD) == FD_CLOEXEC, "close-on-exec");
    check(ready(empty) == 0, "the empty instance has events");
    check(ready(epoll) == 1ULL << 1, "ready are %#lx", ready(epoll));
    check(ready(outer) == 1ULL << 8, "the nested instance is not ready");
    must(write(edge[1], "x", 1));
    must(write(once[1], "x", 1));
    check(ready(epoll) == (1ULL << 1 | 1ULL << 2 | 1ULL << 3), "new events");
    check(ready(epoll) == 1ULL << 1, "edge or one-shot events are repeated: %#lx", ready(epoll));
    uint64_t one = 1;
    must(write(event, &one, 8));
    check(ready(epoll) == (1ULL << 1 | 1ULL << 6 | 1ULL << 7), "a description under two numbers: %#lx", ready(epoll));
    struct epoll_event change = {.events = EPOLLIN, .data.u64 = 9};
    check(epoll_ctl(epoll, EPOLL_CTL_MOD, fired[0], &change) == 0, "the fired entry is gone");
    check(epoll_ctl(epoll, EPOLL_CTL_DEL, quiet[0], NULL) == 0, "the quiet entry is gone");
    check(ready(epoll) & 1ULL << 9, "re-armed entry");
    return pass();
}
