/* Unix sockets whose peers are gone: the peer's name, unread data, a pending reset, a datagram peer that was closed. */
#include "sockets.h"

#include <poll.h>

static void check_peer_name(int fd, const char *name) {
    struct sockaddr_un address = {0};
    socklen_t length = sizeof(address);
    check(getpeername(fd, (struct sockaddr *)&address, &length) == 0, "%s: no peer", name);
    check(!strcmp(address.sun_path, name), "peer is '%s' instead of '%s'", address.sun_path, name);
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    int listener = unix_bound(SOCK_STREAM, "server"), reset[2], dgram[2], packets[2];
    must(listen(listener, 5));
    int client = unix_connected(SOCK_STREAM, "server"), server = must(accept(listener, NULL, NULL));
    sends(server, "last words");
    close(server);
    int orphan = unix_connected(SOCK_STREAM, "server"), accepted = must(accept(listener, NULL, NULL));
    /* Connections that have outlived their listener, and one that was refused by its end. */
    int refused = unix_connected(SOCK_STREAM, "server");
    close(listener);
    must(unlink("server"));
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, reset));
    sends(reset[0], "unread");
    sends(reset[1], "before the reset");
    close(reset[1]);
    must(socketpair(AF_UNIX, SOCK_DGRAM, 0, dgram));
    sends(dgram[1], "inheritance");
    close(dgram[1]);
    must(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, packets));
    sends(packets[1], "one");
    sends(packets[1], "two");
    close(packets[1]);
    int receiver = unix_bound(SOCK_DGRAM, "receiver"), sender = unix_connected(SOCK_DGRAM, "receiver");
    close(receiver);
    must(unlink("receiver"));

    test_daemon();
    test_waitsig();

    char text[64];
    check_peer_name(client, "server");
    check(receives(client, "last words") && recv(client, text, 1, 0) == 0, "closed connection");
    check_peer_name(orphan, "server");
    check(sends(orphan, "ping") && receives(accepted, "ping"), "connection without its listener");
    struct sockaddr_un address = {0};
    socklen_t length = sizeof(address);
    check(!getsockname(accepted, (struct sockaddr *)&address, &length) && !strcmp(address.sun_path, "server"),
          "accepted socket's name is '%s'", address.sun_path);
    check(recv(refused, text, 1, 0) == -1 && errno == ECONNRESET, "connection that was never accepted");
    struct pollfd ready = {reset[0], POLLIN, 0};
    check(poll(&ready, 1, 0) == 1 && ready.revents & POLLERR, "the reset is lost");
    check(receives(reset[0], "before the reset") && recv(reset[0], text, 1, 0) == -1 && errno == ECONNRESET,
          "connection that was reset");
    check(receives(dgram[0], "inheritance") && nothing_to_receive(dgram[0]), "datagram of a closed peer");
    check(!sends(dgram[0], "x") && errno == ECONNREFUSED, "closed datagram peer takes datagrams");
    check(recv(packets[0], text, sizeof(text), 0) == 3 && recv(packets[0], text, sizeof(text), 0) == 3 &&
              recv(packets[0], text, sizeof(text), 0) == 0,
          "packets of a closed peer");
    check_peer_name(sender, "receiver");
    check(!sends(sender, "x") && errno == ECONNREFUSED, "closed receiver takes datagrams");
    check(access("server", F_OK) == -1 && access("receiver", F_OK) == -1, "a removed name is back");
    return pass();
}
