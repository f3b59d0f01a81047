/* A listening MPTCP socket, which takes plain TCP connections after restore. */
#include "sockets.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

int main(int argc, char **argv) {
    test_init(argc, argv);
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(address);
    int on = 1, listener = must(socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP));
    must(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)));
    must(bind(listener, (struct sockaddr *)&address, length));
    must(listen(listener, 6));
    must(getsockname(listener, (struct sockaddr *)&address, &length));
    test_daemon();
    test_waitsig();
    check(int_option(listener, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_MPTCP, "protocol");
    check(int_option(listener, SOL_SOCKET, SO_REUSEADDR) == 1, "SO_REUSEADDR");
    int client = must(socket(AF_INET, SOCK_STREAM, 0));
    check(connect(client, (struct sockaddr *)&address, length) == 0, "connect");
    int server = accept(listener, NULL, NULL);
    check(server >= 0 && sends(client, "x") && receives(server, "x"), "accept");
    return pass();
}
