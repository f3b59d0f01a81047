/* Listening TCP sockets, bound and closed ones: backlog, options, new connections after restore. */
#include "sockets.h"

static void exercise(int family) {
    struct sockaddr_in6 address, after;
    socklen_t length;
    int on = 1, defer = 7, listener = loopback_bound(family, SOCK_STREAM, &address, &length);
    must(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)));
    must(setsockopt(listener, IPPROTO_TCP, TCP_DEFER_ACCEPT, &defer, sizeof(defer)));
    defer = int_option(listener, IPPROTO_TCP, TCP_DEFER_ACCEPT);
    must(listen(listener, 7));
    struct sockaddr_in6 other;
    int only_bound = loopback_bound(family, SOCK_STREAM, &other, &length),
        fresh = must(socket(family, SOCK_STREAM | SOCK_NONBLOCK, 0));
    child_wait();
    check(int_option(listener, SOL_SOCKET, SO_ACCEPTCONN) == 1, "does not listen");
    check(int_option(listener, SOL_SOCKET, SO_REUSEADDR) == 1, "SO_REUSEADDR");
    check(int_option(only_bound, SOL_SOCKET, SO_ACCEPTCONN) == 0, "the bound socket listens");
    check(int_option(listener, IPPROTO_TCP, TCP_DEFER_ACCEPT) == defer, "TCP_DEFER_ACCEPT");
    struct tcp_info info;
    socklen_t size = sizeof(info);
    check(!getsockopt(listener, IPPROTO_TCP, TCP_INFO, &info, &size) && info.tcpi_sacked == 7, "backlog is %u",
          info.tcpi_sacked);
    length = sizeof(after);
    check(!getsockname(only_bound, (struct sockaddr *)&after, &length) && after.sin6_port == other.sin6_port,
          "bound port");
    int client = must(socket(family, SOCK_STREAM, 0));
    check(connect(client, (struct sockaddr *)&address, length) == 0, "connect");
    check(sends(client, "hello"), "send");
    int server = accept(listener, NULL, NULL);
    check(server >= 0 && receives(server, "hello"), "accept");
    check(fcntl(fresh, F_GETFL) & O_NONBLOCK, "flags");
    check(bind(fresh, (struct sockaddr *)&other, length) == -1 && errno == EADDRINUSE, "bound port is free");
}

static int body(void *family) {
    exercise((int)(long)family);
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
