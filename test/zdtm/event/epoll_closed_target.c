/* An epoll entry whose descriptor number was closed, or reused for another file, while the file lives on as a
 * duplicate: events still come, under the old data. */
#include "zdtm.h"

#include <sys/epoll.h>

int main(int argc, char **argv) {
    test_init(argc, argv);
    int epoll = must(epoll_create1(0)), closed[2], reused[2];
    must(pipe(closed));
    must(pipe(reused));
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = 100}, found[4];
    must(epoll_ctl(epoll, EPOLL_CTL_ADD, closed[0], &event));
    event.data.u64 = 200;
    must(epoll_ctl(epoll, EPOLL_CTL_ADD, reused[0], &event));
    int kept = must(dup(closed[0])), kept2 = must(dup(reused[0]));
    close(closed[0]);
    must(dup2(0, reused[0]));
    test_daemon();
    test_waitsig();
    check(epoll_wait(epoll, found, 4, 0) == 0, "events without a cause");
    must(write(closed[1], "x", 1));
    check(epoll_wait(epoll, found, 4, 0) == 1 && found[0].data.u64 == 100, "the closed number's entry is lost");
    must(write(reused[1], "x", 1));
    check(epoll_wait(epoll, found, 4, 0) == 2, "the reused number's entry is lost");
    char byte;
    check(read(kept, &byte, 1) == 1 && read(kept2, &byte, 1) == 1, "duplicates");
    return pass();
}
