/* Netlink messages between programs that were not read yet: with their senders, from living and closed sockets; a
 * connected netlink socket. */
#include "sockets.h"

#include <linux/netlink.h>

static int bound(uint32_t port) {
    int fd = must(socket(AF_NETLINK, SOCK_RAW, NETLINK_USERSOCK));
    struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_pid = port};
    must(bind(fd, (struct sockaddr *)&address, sizeof(address)));
    return fd;
}

static bool from(int fd, const char *text, uint32_t port) {
    char buffer[64] = {0};
    struct sockaddr_nl sender = {0};
    socklen_t length = sizeof(sender);
    ssize_t n = recvfrom(fd, buffer, sizeof(buffer) - 1, MSG_DONTWAIT, (struct sockaddr *)&sender, &length);
    return n == (ssize_t)strlen(text) && !strcmp(buffer, text) && sender.nl_pid == port;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    int receiver = bound(1001), living = bound(1002), gone = bound(1003);
    struct sockaddr_nl to = {.nl_family = AF_NETLINK, .nl_pid = 1001};
    must(connect(living, (struct sockaddr *)&to, sizeof(to)));
    must(send(living, "one", 3, 0));
    must(sendto(gone, "two", 3, 0, (struct sockaddr *)&to, sizeof(to)));
    must(send(living, "three", 5, 0));
    close(gone);
    test_daemon();
    test_waitsig();
    check(from(receiver, "one", 1002), "first message");
    check(from(receiver, "two", 1003), "message of a closed socket");
    check(from(receiver, "three", 1002), "last message");
    check(nothing_to_receive(receiver), "more messages");
    check(sends(living, "four") && from(receiver, "four", 1002), "connected socket");
    return pass();
}
