/* Connections that nobody has accepted yet, with data in them, some already closed by the client. */
#include "sockets.h"

int main(int argc, char **argv) {
    test_init(argc, argv);
    int listener = unix_bound(SOCK_STREAM, "listener"), packets = unix_bound(SOCK_SEQPACKET, "packets");
    must(listen(listener, 10));
    must(listen(packets, 10));
    int silent = unix_connected(SOCK_STREAM, "listener"), talking = unix_connected(SOCK_STREAM, "listener");
    int gone = unix_connected(SOCK_STREAM, "listener"), packet = unix_connected(SOCK_SEQPACKET, "packets");
    sends(talking, "hello");
    sends(gone, "goodbye");
    close(gone);
    sends(packet, "one");
    sends(packet, "two");
    test_daemon();
    test_waitsig();
    int first = must(accept(listener, NULL, NULL)), second = must(accept(listener, NULL, NULL)),
        third = must(accept(listener, NULL, NULL));
    int fourth = must(accept(packets, NULL, NULL));
    char text[16];
    check(nothing_to_receive(first) && sends(silent, "x") && receives(first, "x"), "silent connection");
    check(receives(second, "hello") && sends(second, "y") && receives(talking, "y"), "connection with data");
    check(receives(third, "goodbye") && recv(third, text, 1, 0) == 0, "connection whose client is gone");
    check(recv(fourth, text, sizeof(text), 0) == 3 && recv(fourth, text, sizeof(text), 0) == 3, "packets");
    fcntl(listener, F_SETFL, O_NONBLOCK);
    check(accept(listener, NULL, NULL) == -1 && errno == EAGAIN, "more connections");
    return pass();
}
