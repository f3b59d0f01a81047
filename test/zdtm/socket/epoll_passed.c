/* Epoll sets on their way through a socket: what they watch is found again, also under numbers that are used otherwise. */
#include "sockets.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

static int receive_one(int socket) {
    int fd = -1;
    check(receive_fds(socket, &fd, 1) == 1, "no descriptor has come");
    return fd;
}

static void watch(int set, int fd, uint64_t data) {
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = data};
    must(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event));
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    int pair[2], empty = must(epoll_create1(0)), set = must(epoll_create1(0)), kept = must(eventfd(0, 0)), moved = must(eventfd(0, 0));
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    watch(set, kept, 11);
    watch(set, moved, 22);
    int elsewhere = must(fcntl(moved, F_DUPFD, 50));
    must(dup2(0, moved)); /* the number it was added by leads to another file */
    send_fds(pair[0], &set, 1);
    send_fds(pair[0], &empty, 1);
    close(set);
    close(empty);
    test_daemon();
    test_waitsig();
    struct epoll_event event;
    set = receive_one(pair[1]);
    empty = receive_one(pair[1]);
    check(epoll_wait(set, &event, 1, 0) == 0, "something is ready");
    check(epoll_wait(empty, &event, 1, 0) == 0, "the other set is not empty");
    must((int)write(kept, &(uint64_t){1}, 8));
    check(epoll_wait(set, &event, 1, 0) == 1 && event.data.u64 == 11, "the first eventfd is not watched");
    must((int)read(kept, &(uint64_t){0}, 8));
    must((int)write(elsewhere, &(uint64_t){1}, 8));
    check(epoll_wait(set, &event, 1, 0) == 1 && event.data.u64 == 22, "the second eventfd is not watched");
    check(fcntl(moved, F_GETFD) == 0, "the number leads nowhere");
    return pass();
}
