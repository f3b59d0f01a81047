/* An established MPTCP connection: refused by name. */
#include "sockets.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

int main(int argc, char **argv) {
    test_init(argc, argv);
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(address);
    int listener = must(socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP)),
        client = must(socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP));
    must(bind(listener, (struct sockaddr *)&address, length));
    must(listen(listener, 6));
    must(getsockname(listener, (struct sockaddr *)&address, &length));
    must(connect(client, (struct sockaddr *)&address, length));
    int server = must(accept(listener, NULL, NULL));
    test_daemon();
    test_waitsig();
    check(sends(client, "x") && receives(server, "x"), "connection");
    return pass();
}
