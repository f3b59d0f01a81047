/* TCP in the closing states: half-closed either way with data left, closed by the peer, and reset. */
#include "sockets.h"

int main(int argc, char **argv) {
    test_init(argc, argv);
    int half[2], closed[2], both[2];
    close(tcp_pair(AF_INET, half));
    close(tcp_pair(AF_INET, closed));
    close(tcp_pair(AF_INET, both));
    sends(half[0], "last words");
    must(shutdown(half[0], SHUT_WR)); /* FIN_WAIT2 here, CLOSE_WAIT there */
    sends(closed[0], "inheritance");
    close(closed[0]); /* CLOSE_WAIT there, nobody here */
    sends(both[0], "a");
    sends(both[1], "b");
    must(shutdown(both[0], SHUT_WR));
    must(shutdown(both[1], SHUT_WR)); /* LAST_ACK there, TIME_WAIT here */
    sleep_ms(50);
    test_daemon();
    test_waitsig();
    char byte;
    check(receives(half[1], "last words") && recv(half[1], &byte, 1, 0) == 0, "half-closed connection");
    check(sends(half[1], "answer") && receives(half[0], "answer"), "its open half");
    check(!sends(half[0], "x") && errno == EPIPE, "its closed half");
    check(receives(closed[1], "inheritance") && recv(closed[1], &byte, 1, 0) == 0, "connection whose peer has closed");
    check(receives(both[1], "a") && recv(both[1], &byte, 1, 0) == 0, "both closed, one end");
    check(receives(both[0], "b") && recv(both[0], &byte, 1, 0) == 0, "both closed, the other end");
    return pass();
}
