/* Many sockets of one port: a listener with its connections, with and without SO_REUSEADDR, listeners that share a port
 * by SO_REUSEPORT, one bound socket beside another. The options come back as they were. */
#include "sockets.h"

int main(int argc, char **argv) {
    test_init(argc, argv);
    struct sockaddr_in6 address, shared;
    socklen_t length;
    int on = 1, clients[4], servers[4], group[3];
    int listener = loopback_bound(AF_INET, SOCK_STREAM, &address, &length);
    must(listen(listener, 8));
    for (int i = 0; i < 4; i++) {
        clients[i] = must(socket(AF_INET, SOCK_STREAM, 0));
        must(connect(clients[i], (struct sockaddr *)&address, length));
        servers[i] = must(accept(listener, NULL, NULL));
    }
    must(setsockopt(servers[1], SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)));
    for (int i = 0; i < 3; i++) {
        group[i] = must(socket(AF_INET, SOCK_STREAM, 0));
        must(setsockopt(group[i], SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)));
        if (i == 0) {
            shared = (struct sockaddr_in6){.sin6_family = AF_INET};
            must(bind(group[0], (struct sockaddr *)&shared, length));
            must(getsockname(group[0], (struct sockaddr *)&shared, &length));
        } else {
            must(bind(group[i], (struct sockaddr *)&shared, length));
        }
        must(listen(group[i], 8));
    }
    test_daemon();
    test_waitsig();
    for (int i = 0; i < 4; i++) {
        check(sends(clients[i], "a") && receives(servers[i], "a"), "connection %d", i);
        check(int_option(servers[i], SOL_SOCKET, SO_REUSEADDR) == (i == 1), "SO_REUSEADDR of %d", i);
        check(int_option(clients[i], SOL_SOCKET, SO_REUSEADDR) == 0, "SO_REUSEADDR of client %d", i);
    }
    check(int_option(listener, SOL_SOCKET, SO_REUSEADDR) == 0, "SO_REUSEADDR of the listener");
    int another = must(socket(AF_INET, SOCK_STREAM, 0));
    check(bind(another, (struct sockaddr *)&address, length) == -1 && errno == EADDRINUSE, "the port is free");
    for (int i = 0; i < 3; i++)
        check(int_option(group[i], SOL_SOCKET, SO_REUSEPORT) == 1 && int_option(group[i], SOL_SOCKET, SO_ACCEPTCONN) == 1,
              "group %d", i);
    int client = must(socket(AF_INET, SOCK_STREAM, 0));
    check(connect(client, (struct sockaddr *)&address, length) == 0 && accept(listener, NULL, NULL) >= 0, "new client");
    return pass();
}
