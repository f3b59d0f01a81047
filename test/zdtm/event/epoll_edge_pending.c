/* Edge-triggered readiness at checkpoint time: an edge that was not fetched yet must be reported after restore; one
 * that was fetched may be reported once more, but data never gets lost. */
#include "zdtm.h"

#include <sys/epoll.h>

int main(int argc, char **argv) {
    test_init(argc, argv);
    int epoll = must(epoll_create1(0)), ends[2];
    must(pipe(ends));
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.fd = 5}, found = {0};
    must(epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event));
    must(write(ends[1], "x", 1));
    test_daemon();
    test_waitsig();
    check(epoll_wait(epoll, &found, 1, 0) == 1 && found.data.fd == 5, "the edge is lost");
    check(epoll_wait(epoll, &found, 1, 0) == 0, "the edge is reported twice");
    return pass();
}
