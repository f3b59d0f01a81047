/* epoll over every kind that can be polled, at once. */
#include "abi.h"
#include "sockets.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

enum { kPipe, kFifo, kEvent, kTimer, kSignal, kInotify, kUnix, kUdp, kPidfd, kPty, kEpoll, kCount };
static int fds[kCount], other[kCount];

static void trigger(void) {
    uint64_t one = 1;
    must(write(other[kPipe], "x", 1));
    must(write(other[kFifo], "x", 1));
    must(write(fds[kEvent], &one, 8));
    must(timerfd_settime(fds[kTimer], 0, &(struct itimerspec){{0, 0}, {0, 1}}, NULL));
    must(kill(getpid(), SIGUSR1));
    write_file("watched", "x", 1);
    must(send(other[kUnix], "x", 1, 0));
    must(send(other[kUdp], "x", 1, 0));
    must(kill(other[kPidfd], SIGTERM));
    must(write(other[kPty], "x\n", 2));
    must(write(other[kEpoll], "x", 1));
}

static int body(void *unused) {
    (void)unused;
    child_wait();
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    int ends[2];
    must(pipe(ends));
    fds[kPipe] = ends[0], other[kPipe] = ends[1];
    must(mkfifo("fifo", 0600));
    fds[kFifo] = must(open("fifo", O_RDWR)), other[kFifo] = must(open("fifo", O_WRONLY));
    fds[kEvent] = must(eventfd(0, 0));
    fds[kTimer] = must(timerfd_create(CLOCK_MONOTONIC, 0));
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    fds[kSignal] = must(signalfd(-1, &set, 0));
    write_file("watched", "", 0);
    fds[kInotify] = must(inotify_init1(0));
    must(inotify_add_watch(fds[kInotify], "watched", IN_MODIFY));
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
    fds[kUnix] = ends[0], other[kUnix] = ends[1];
    struct sockaddr_in6 address;
    socklen_t length;
    fds[kUdp] = loopback_bound(AF_INET, SOCK_DGRAM, &address, &length);
    other[kUdp] = must(socket(AF_INET, SOCK_DGRAM, 0));
    must(connect(other[kUdp], (struct sockaddr *)&address, length));
    other[kPidfd] = spawn(body, NULL);
    fds[kPidfd] = must(syscall(SYS_NR_pidfd_open, other[kPidfd], 0));
    other[kPty] = must(open("/dev/ptmx", O_RDWR | O_NOCTTY));
    must(unlockpt(other[kPty]));
    fds[kPty] = must(open(ptsname(other[kPty]), O_RDWR | O_NOCTTY));
    fds[kEpoll] = must(epoll_create1(0));
    must(pipe(ends));
    struct epoll_event event = {.events = EPOLLIN};
    must(epoll_ctl(fds[kEpoll], EPOLL_CTL_ADD, ends[0], &event));
    other[kEpoll] = ends[1];
    int epoll = must(epoll_create1(0));
    for (int i = 0; i < kCount; i++) {
        event.data.u32 = i;
        must(epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i], &event));
    }

    test_daemon();
    test_waitsig();

    struct epoll_event found[kCount];
    int ready = epoll_wait(epoll, found, kCount, 0);
    check(ready == 0, "%d are ready before anything has happened, the first is %u", ready, found[0].data.u32);
    trigger();
    unsigned seen = 0;
    for (int round = 0; round < 2000 && seen != (1u << kCount) - 1; round++) {
        ready = epoll_wait(epoll, found, kCount, 1);
        for (int i = 0; i < ready; i++)
            seen |= 1u << found[i].data.u32;
        usleep(1000); /* a terminal's input arrives by way of a kernel thread */
    }
    check(seen == (1u << kCount) - 1, "ready are only %#x", seen);
    return pass();
}
