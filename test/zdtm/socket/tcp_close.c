/* --tcp-close: connections come back as sockets whose connection is over, listeners as they were. */
#include "sockets.h"

int main(int argc, char **argv) {
    test_init(argc, argv);
    int ends[2], listener = tcp_pair(AF_INET, ends);
    struct sockaddr_in6 address;
    socklen_t length = sizeof(address);
    must(getsockname(listener, (struct sockaddr *)&address, &length));
    sends(ends[0], "lost");
    test_daemon();
    test_waitsig();
    char text[8];
    check(recv(ends[1], text, sizeof(text), 0) == 0, "the connection has data");
    check(!sends(ends[0], "x") && errno == EPIPE, "the connection takes data");
    int client = must(socket(AF_INET, SOCK_STREAM, 0));
    check(connect(client, (struct sockaddr *)&address, length) == 0, "connect");
    check(accept(listener, NULL, NULL) >= 0, "accept");
    return pass();
}
