/* UDP-Lite: checksum coverage, and a queued datagram with its sender. */
#include "sockets.h"

#define UDPLITE_SEND_CSCOV 10
#define UDPLITE_RECV_CSCOV 11

int main(int argc, char **argv) {
    test_init(argc, argv);
    struct sockaddr_in a = {.sin_family = AF_INET}, b = a, from;
    a.sin_addr.s_addr = b.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(a);
    int coverage = 20, receiver = must(socket(AF_INET, SOCK_DGRAM, IPPROTO_UDPLITE)),
        sender = must(socket(AF_INET, SOCK_DGRAM, IPPROTO_UDPLITE));
    must(bind(receiver, (struct sockaddr *)&a, length));
    must(bind(sender, (struct sockaddr *)&b, length));
    must(getsockname(receiver, (struct sockaddr *)&a, &length));
    must(getsockname(sender, (struct sockaddr *)&b, &length));
    must(setsockopt(sender, IPPROTO_UDPLITE, UDPLITE_SEND_CSCOV, &coverage, sizeof(coverage)));
    must(setsockopt(receiver, IPPROTO_UDPLITE, UDPLITE_RECV_CSCOV, &coverage, sizeof(coverage)));
    must(sendto(sender, "thirty bytes of light payload.", 30, 0, (struct sockaddr *)&a, length));
    test_daemon();
    test_waitsig();
    char text[64];
    check(int_option(receiver, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_UDPLITE, "protocol");
    check(recvfrom(receiver, text, sizeof(text), MSG_DONTWAIT, (struct sockaddr *)&from, &length) == 30 &&
              from.sin_port == b.sin_port,
          "queued datagram");
    check(int_option(sender, IPPROTO_UDPLITE, UDPLITE_SEND_CSCOV) == 20, "coverage of the sender");
    check(int_option(receiver, IPPROTO_UDPLITE, UDPLITE_RECV_CSCOV) == 20, "coverage of the receiver");
    must(sendto(sender, "thirty bytes of light payload.", 30, 0, (struct sockaddr *)&a, length));
    check(recv(receiver, text, sizeof(text), 0) == 30, "new datagram");
    return pass();
}
