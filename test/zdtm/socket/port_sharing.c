/* Sockets that share a port although a socket with their present flags could not be bound there: the flags count at the
 * time of bind(2), and were changed since. Groups of SO_REUSEPORT with listeners and connections, IPv4 beside IPv6. */
#include "sockets.h"

#define LISTENERS 3

static void flag(int fd, int option, int value) {
    must(setsockopt(fd, SOL_SOCKET, option, &value, sizeof(value)));
}

/* A socket bound to *address with a flag that is set before; a port is chosen where there is none yet. */
static int bound_with(int type, int option, struct sockaddr_in6 *address) {
    socklen_t length = address->sin6_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(*address);
    int fd = must(socket(address->sin6_family, type, 0));
    if (option)
        flag(fd, option, 1);
    must(bind(fd, (struct sockaddr *)address, length));
    must(getsockname(fd, (struct sockaddr *)address, &length));
    return fd;
}

static int connected(const struct sockaddr_in6 *address) {
    struct sockaddr_in6 to = *address;
    if (to.sin6_family == AF_INET)
        ((struct sockaddr_in *)&to)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else
        to.sin6_addr = in6addr_loopback;
    int fd = must(socket(to.sin6_family, SOCK_STREAM, 0));
    must(connect(fd, (struct sockaddr *)&to, sizeof(to)));
    return fd;
}

static bool answers(int one, int other) {
    return sends(one, "there") && receives(other, "there") && sends(other, "back") && receives(one, "back");
}

struct group {
    struct sockaddr_in6 address;
    int listeners[LISTENERS], client, server;
};

/* Listeners of one port, and a connection to one of them. */
static void set_up_group(struct group *group, int family) {
    group->address.sin6_family = family;
    for (int i = 0; i < LISTENERS; i++)
        must(listen(group->listeners[i] = bound_with(SOCK_STREAM, SO_REUSEPORT, &group->address), 4));
    group->client = connected(&group->address);
    group->server = -1;
    while (group->server < 0)
        for (int i = 0; i < LISTENERS && group->server < 0; i++) {
            must(fcntl(group->listeners[i], F_SETFL, O_NONBLOCK));
            group->server = accept(group->listeners[i], NULL, NULL);
        }
}

static void check_group(const struct group *group, const char *name) {
    check(answers(group->client, group->server), "%s: connection", name);
    for (int i = 0; i < LISTENERS; i++)
        check(int_option(group->listeners[i], SOL_SOCKET, SO_ACCEPTCONN) == 1, "%s: listener %d", name, i);
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    struct group plain = {0}, late = {0}, six = {0};
    set_up_group(&plain, AF_INET);
    set_up_group(&six, AF_INET6);
    set_up_group(&late, AF_INET);
    flag(late.listeners[1], SO_REUSEPORT, 0);
    flag(late.server, SO_REUSEPORT, 0);
    flag(late.listeners[2], SO_REUSEADDR, 1);

    /* A server that was started again while a connection of its forerunner lived on. */
    struct sockaddr_in6 again = {.sin6_family = AF_INET};
    int first = bound_with(SOCK_STREAM, SO_REUSEADDR, &again);
    must(listen(first, 4));
    int old_client = connected(&again), old_server = must(accept(first, NULL, NULL));
    close(first);
    int second = bound_with(SOCK_STREAM, SO_REUSEADDR, &again);
    must(listen(second, 4));
    flag(second, SO_REUSEADDR, 0);
    flag(old_server, SO_REUSEADDR, 0);

    /* Bound by one flag, held by none; datagrams too. */
    struct sockaddr_in6 packets = {.sin6_family = AF_INET}, idle = {.sin6_family = AF_INET};
    int datagrams[2], waiting[2];
    for (int i = 0; i < 2; i++) {
        datagrams[i] = bound_with(SOCK_DGRAM, SO_REUSEADDR, &packets);
        waiting[i] = bound_with(SOCK_STREAM, SO_REUSEADDR, &idle);
    }
    for (int i = 0; i < 2; i++) {
        flag(datagrams[i], SO_REUSEADDR, 0);
        flag(waiting[i], SO_REUSEADDR, i);
    }
    /* A listener of IPv6 alone beside one of IPv4. */
    struct sockaddr_in6 both = {.sin6_family = AF_INET};
    int four = bound_with(SOCK_STREAM, 0, &both);
    must(listen(four, 4));
    int fd = must(socket(AF_INET6, SOCK_STREAM, 0)), on = 1;
    must(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)));
    struct sockaddr_in6 beside = {.sin6_family = AF_INET6, .sin6_port = both.sin6_port};
    must(bind(fd, (struct sockaddr *)&beside, sizeof(beside)));
    must(listen(fd, 4));

    test_daemon();
    test_waitsig();

    check_group(&plain, "plain");
    check_group(&six, "IPv6");
    check_group(&late, "late");
    check(int_option(plain.server, SOL_SOCKET, SO_REUSEPORT) == 1, "the connection has inherited SO_REUSEPORT");
    for (int i = 0; i < LISTENERS; i++) {
        check(int_option(late.listeners[i], SOL_SOCKET, SO_REUSEPORT) == (i != 1), "late: SO_REUSEPORT of %d", i);
        check(int_option(late.listeners[i], SOL_SOCKET, SO_REUSEADDR) == (i == 2), "late: SO_REUSEADDR of %d", i);
    }
    check(int_option(late.server, SOL_SOCKET, SO_REUSEPORT) == 0, "late: SO_REUSEPORT of the connection");
    check(answers(old_client, old_server), "connection of the forerunner");
    check(int_option(second, SOL_SOCKET, SO_REUSEADDR) == 0, "SO_REUSEADDR of the second server");
    check(int_option(old_server, SOL_SOCKET, SO_REUSEADDR) == 0, "SO_REUSEADDR of the old connection");
    for (int i = 0; i < 2; i++) {
        check(int_option(datagrams[i], SOL_SOCKET, SO_REUSEADDR) == 0, "SO_REUSEADDR of datagrams %d", i);
        check(int_option(waiting[i], SOL_SOCKET, SO_REUSEADDR) == i, "SO_REUSEADDR of bound socket %d", i);
    }
    int client = connected(&beside), accepted = must(accept(fd, NULL, NULL));
    check(answers(client, accepted), "listener of IPv6");
    return pass();
}
