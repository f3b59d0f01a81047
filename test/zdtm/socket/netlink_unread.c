/* Answers of the kernel that were not read yet cannot be put back: refused, and the answers stay. */
#include "sockets.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>

int main(int argc, char **argv) {
    test_init(argc, argv);
    int fd = must(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
    struct {
        struct nlmsghdr header;
        struct rtgenmsg body;
    } request = {{sizeof(request), RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, 1, 0}, {AF_UNSPEC}};
    must(send(fd, &request, sizeof(request), 0));
    test_daemon();
    test_waitsig();
    char answer[16384];
    check(recv(fd, answer, sizeof(answer), MSG_DONTWAIT) > 0 && ((struct nlmsghdr *)answer)->nlmsg_type == RTM_NEWLINK,
          "answer");
    return pass();
}
