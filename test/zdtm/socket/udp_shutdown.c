/* UDP sockets that were shut down for one direction, and options of UDP: segments, receive offload, checksums. */
#include "sockets.h"

#include <poll.h>

#define UDP_SEGMENT 103
#define UDP_GRO 104

int main(int argc, char **argv) {
    test_init(argc, argv);
    struct sockaddr_in6 address;
    socklen_t length;
    int on = 1, size = 1200, ends[2], peer = loopback_bound(AF_INET, SOCK_DGRAM, &address, &length);
    for (int i = 0; i < 2; i++) {
        ends[i] = must(socket(AF_INET, SOCK_DGRAM, 0));
        must(connect(ends[i], (struct sockaddr *)&address, length));
        must(shutdown(ends[i], i ? SHUT_WR : SHUT_RD));
    }
    must(setsockopt(peer, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof(size)));
    must(setsockopt(peer, IPPROTO_UDP, UDP_GRO, &on, sizeof(on)));
    test_daemon();
    test_waitsig();
    char byte;
    struct pollfd end = {ends[0], POLLRDHUP, 0};
    check(poll(&end, 1, 0) == 1 && recv(ends[0], &byte, 1, 0) == 0, "the receiving direction is open");
    check(sends(ends[0], "x") && receives(peer, "x"), "its sending direction");
    check(send(ends[1], "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE, "the sending direction is open");
    check(nothing_to_receive(ends[1]), "its receiving direction");
    check(int_option(peer, IPPROTO_UDP, UDP_SEGMENT) == 1200, "UDP_SEGMENT");
    check(int_option(peer, IPPROTO_UDP, UDP_GRO) == 1, "UDP_GRO");
    return pass();
}
