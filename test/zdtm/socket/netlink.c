/* Netlink sockets: port ids, groups, and working requests after restore. */
#include "sockets.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>

int main(int argc, char **argv) {
    test_init(argc, argv);
    int fd = must(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE)),
        unbound = must(socket(AF_NETLINK, SOCK_DGRAM, NETLINK_ROUTE));
    struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK | RTMGRP_IPV4_ROUTE}, after = {0};
    must(bind(fd, (struct sockaddr *)&address, sizeof(address)));
    int large = RTNLGRP_NEXTHOP, on = 1;
    must(setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &large, sizeof(large)));
    must(setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on)));
    socklen_t length = sizeof(address);
    must(getsockname(fd, (struct sockaddr *)&address, &length));
    test_daemon();
    test_waitsig();
    check(!getsockname(fd, (struct sockaddr *)&after, &length) && after.nl_pid == address.nl_pid &&
              after.nl_groups == address.nl_groups,
          "port %u, groups %#x", after.nl_pid, after.nl_groups);
    check(fcntl(fd, F_GETFD) == FD_CLOEXEC, "close-on-exec");
    check(int_option(fd, SOL_NETLINK, NETLINK_EXT_ACK) == 1, "NETLINK_EXT_ACK");
    uint32_t groups[4] = {0};
    length = sizeof(groups);
    check(!getsockopt(fd, SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS, groups, &length), "memberships");
    check(groups[(large - 1) / 32] & 1u << (large - 1) % 32, "group %d is lost", large);
    struct {
        struct nlmsghdr header;
        struct rtgenmsg body;
    } request = {{sizeof(request), RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, 1, 0}, {AF_UNSPEC}};
    check(send(unbound, &request, sizeof(request), 0) == sizeof(request), "request");
    char answer[16384];
    check(recv(unbound, answer, sizeof(answer), 0) > 0 && ((struct nlmsghdr *)answer)->nlmsg_type == RTM_NEWLINK,
          "answer");
    return pass();
}
