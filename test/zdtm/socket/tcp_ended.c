/* TCP connections that are over while their sockets are still open: reset by the peer, timed out of life with unread
 * data, shut down for reading. What the next calls say stays the same. */
#include "sockets.h"

#include <poll.h>

int main(int argc, char **argv) {
    test_init(argc, argv);
    int reset[2], drained[2], reading[2], fresh = must(socket(AF_INET, SOCK_STREAM, 0));
    struct linger hard = {1, 0};
    close(tcp_pair(AF_INET, reset));
    must(setsockopt(reset[0], SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)));
    close(reset[0]);
    close(tcp_pair(AF_INET6, drained));
    sends(drained[0], "legacy");
    must(shutdown(drained[1], SHUT_WR));
    close(drained[0]); /* CLOSE there; here the data is left */
    close(tcp_pair(AF_INET, reading));
    must(shutdown(reading[0], SHUT_RD));
    sleep_ms(50);
    test_daemon();
    test_waitsig();
    char byte;
    check(recv(reset[1], &byte, 1, 0) == -1 && errno == ECONNRESET, "error of the reset connection");
    check(recv(reset[1], &byte, 1, 0) == 0, "the reset connection has no end");
    check(receives(drained[1], "legacy") && recv(drained[1], &byte, 1, 0) == 0, "data of the ended connection");
    check(!sends(drained[1], "x") && errno == EPIPE, "the ended connection takes data");
    check(recv(reading[0], &byte, 1, MSG_DONTWAIT) == 0, "the reading side is open");
    check(sends(reading[0], "w") && receives(reading[1], "w"), "its writing side");
    check(recv(fresh, &byte, 1, MSG_DONTWAIT) == -1 && errno == ENOTCONN, "fresh socket");
    return pass();
}
