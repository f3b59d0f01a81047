/* TCP connections that nobody has accepted yet, one with data. */
#include "sockets.h"

int main(int argc, char **argv) {
    test_init(argc, argv);
    struct sockaddr_in6 address;
    socklen_t length;
    int listener = loopback_bound(AF_INET, SOCK_STREAM, &address, &length), clients[2];
    must(listen(listener, 5));
    for (int i = 0; i < 2; i++) {
        clients[i] = must(socket(AF_INET, SOCK_STREAM, 0));
        must(connect(clients[i], (struct sockaddr *)&address, length));
    }
    sends(clients[1], "early");
    test_daemon();
    test_waitsig();
    int first = must(accept(listener, NULL, NULL)), second = must(accept(listener, NULL, NULL));
    check(sends(clients[0], "x") && receives(first, "x"), "silent connection");
    check(receives(second, "early") && sends(second, "y") && receives(clients[1], "y"), "connection with data");
    return pass();
}
