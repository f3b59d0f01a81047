/* Notifications of the kernel that were not read yet, and that a full socket has lost: the reader is told by ENOBUFS,
 * and gets the next ones. */
#include "sockets.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/ioctl.h>

static int listener(void) {
    int fd = must(socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, NETLINK_ROUTE));
    struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
    must(bind(fd, (struct sockaddr *)&address, sizeof(address)));
    return fd;
}

/* A notification: the length of the loopback device's queue changes. */
static void notify(void) {
    int fd = must(socket(AF_INET, SOCK_DGRAM, 0));
    struct ifreq request = {.ifr_name = "lo"};
    must(ioctl(fd, SIOCGIFMTU, &request));
    request.ifr_mtu--;
    must(ioctl(fd, SIOCSIFMTU, &request));
    close(fd);
}

/* Reads everything. Returns the number of notifications; *lost says whether the first read said that some are lost. */
static int read_all(int fd, bool *lost) {
    char buffer[16384];
    struct sockaddr_nl from;
    socklen_t length = sizeof(from);
    int found = 0;
    ssize_t n = recvfrom(fd, buffer, sizeof(buffer), 0, (struct sockaddr *)&from, &length);
    *lost = n < 0 && errno == ENOBUFS;
    for (; n >= 0 || errno != EAGAIN; n = recvfrom(fd, buffer, sizeof(buffer), 0, (struct sockaddr *)&from, &length)) {
        struct nlmsghdr *header = (struct nlmsghdr *)buffer;
        if (n > 0 && header->nlmsg_type == RTM_NEWLINK && from.nl_pid == 0)
            found++;
        else
            check(n < 0 || header->nlmsg_type == NLMSG_NOOP, "a message of type %d", header->nlmsg_type);
    }
    return found;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    int unread = listener(), full = listener(), quiet = listener();
    notify();
    must(setsockopt(full, SOL_SOCKET, SO_RCVBUF, &(int){0}, sizeof(int)));
    for (int i = 0; i < 8; i++)
        notify();
    bool lost;
    check(read_all(quiet, &lost) > 0 && !lost, "set-up: notifications");
    int room = int_option(unread, SOL_SOCKET, SO_RCVBUF);
    test_daemon();
    test_waitsig();
    int found = read_all(unread, &lost);
    check(lost || found >= 9, "only %d notifications, and nobody says so", found);
    (void)read_all(full, &lost);
    check(lost, "lost notifications were forgotten");
    check(int_option(unread, SOL_SOCKET, SO_RCVBUF) == room, "size of the buffer");
    notify();
    check(read_all(unread, &lost) > 0 && !lost, "no notifications any more");
    check(read_all(quiet, &lost) > 0 && !lost, "one that was read out");
    return pass();
}
