/* Descriptors of every kind in flight in a unix socket. */
#include "abi.h"
#include "sockets.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

int main(int argc, char **argv) {
    test_init(argc, argv);
    int channel[2];
    must(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, channel));
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    int fds[] = {
        must(open("/dev/null", O_RDWR)),
        must(open(".", O_RDONLY | O_DIRECTORY)),
        must(eventfd(5, 0)),
        must(timerfd_create(CLOCK_MONOTONIC, 0)),
        must(signalfd(-1, &set, 0)),
        must(inotify_init1(0)),
        must(epoll_create1(0)),
        must(memfd_create("in flight", 0)),
        must(socket(AF_INET, SOCK_DGRAM, 0)),
        must(socket(AF_INET, SOCK_STREAM, 0)),
        must(syscall(SYS_NR_pidfd_open, getpid(), 0)),
        must(socket(AF_UNIX, SOCK_STREAM, 0)),
    };
    char links[ARRAY_SIZE(fds)][256];
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        snprintf(links[i], sizeof(links[i]), "%.*s", (int)strcspn(fd_path(fds[i]), "["), fd_path(fds[i]));
        send_fds(channel[0], &fds[i], 1);
    }
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        close(fds[i]);

    test_daemon();
    test_waitsig();

    uint64_t value = 0;
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        check(receive_fds(channel[1], &fds[i], 1) == 1, "descriptor %zu (%s) is lost", i, links[i]);
        check(!strncmp(fd_path(fds[i]), links[i], strlen(links[i])), "descriptor %zu is %s instead of %s", i,
              fd_path(fds[i]), links[i]);
    }
    check(read(fds[2], &value, 8) == 8 && value == 5, "eventfd");
    return pass();
}
