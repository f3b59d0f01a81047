/* UDP sockets: bound, connected, queued datagrams with their senders, options, multicast memberships, IPv4 and IPv6. */
#include "sockets.h"

static int body(void *argument) {
    int family = (int)(long)argument, on = 1, ttl = 33;
    struct sockaddr_in6 address, sender, from;
    socklen_t length, size;
    int receiver = loopback_bound(family, SOCK_DGRAM, &address, &length),
        other = loopback_bound(family, SOCK_DGRAM, &sender, &length);
    int connected = must(socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    must(connect(connected, (struct sockaddr *)&address, length));
    must(setsockopt(receiver, SOL_SOCKET, SO_BROADCAST, &on, sizeof(on)));
    if (family == AF_INET) {
        struct ip_mreqn group = {.imr_ifindex = 1};
        group.imr_multiaddr.s_addr = inet_addr("239.1.2.3");
        must(setsockopt(receiver, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof(group)));
        must(setsockopt(receiver, IPPROTO_IP, IP_TTL, &ttl, sizeof(ttl)));
        must(setsockopt(receiver, IPPROTO_IP, IP_MULTICAST_TTL, &ttl, sizeof(ttl)));
    }
    must(sendto(other, "from other", 10, 0, (struct sockaddr *)&address, length));
    sends(connected, "from connected");
    child_wait();

    char text[64] = {0};
    size = sizeof(from);
    check(recvfrom(receiver, text, sizeof(text), MSG_DONTWAIT, (struct sockaddr *)&from, &size) == 10,
          "first datagram");
    check(from.sin6_port == sender.sin6_port, "its sender");
    check(recv(receiver, text, sizeof(text), MSG_DONTWAIT) == 14, "second datagram");
    check(nothing_to_receive(receiver), "more datagrams");
    check(sends(connected, "new") && receives(receiver, "new"), "connected socket");
    check(fcntl(connected, F_GETFD) == FD_CLOEXEC, "close-on-exec");
    check(int_option(receiver, SOL_SOCKET, SO_BROADCAST) == 1, "SO_BROADCAST");
    if (family == AF_INET) {
        check(int_option(receiver, IPPROTO_IP, IP_TTL) == 33 &&
                  int_option(receiver, IPPROTO_IP, IP_MULTICAST_TTL) == 33,
              "TTL");
        struct ip_mreqn group = {.imr_ifindex = 1};
        group.imr_multiaddr.s_addr = inet_addr("239.1.2.3");
        check(setsockopt(receiver, IPPROTO_IP, IP_DROP_MEMBERSHIP, &group, sizeof(group)) == 0, "membership is lost");
    }
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    pid_t children[] = {spawn(body, (void *)AF_INET), spawn(body, (void *)AF_INET6)};
    test_daemon();
    test_waitsig();
    finish_child(children[0]);
    finish_child(children[1]);
    return pass();
}
