/* Pairs of unix sockets of all types: data in both directions, boundaries, half-closed ones, a lost peer. */
#include "sockets.h"

int main(int argc, char **argv) {
    test_init(argc, argv);
    int stream[2], dgram[2], packets[2], half[2], widow[2];
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, stream));
    must(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, dgram));
    must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, packets));
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, half));
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, widow));
    sends(stream[0], "to one");
    sends(stream[1], "to zero");
    for (int i = 0; i < 2; i++) {
        int fd = i ? packets[0] : dgram[0];
        sends(fd, "first");
        sends(fd, "second packet");
    }
    sends(half[0], "last words");
    must(shutdown(half[0], SHUT_WR));
    sends(widow[0], "inheritance");
    close(widow[0]);

    test_daemon();
    test_waitsig();

    char text[64];
    check(receives(stream[1], "to one") && receives(stream[0], "to zero"), "stream data");
    check(nothing_to_receive(stream[0]) && nothing_to_receive(stream[1]), "more than was sent");
    for (int i = 0; i < 2; i++) {
        int fd = i ? packets[1] : dgram[1];
        check(recv(fd, text, sizeof(text), 0) == 5, "first packet");
        check(recv(fd, text, sizeof(text), 0) == 13, "second packet");
        check(nothing_to_receive(fd), "more packets");
    }
    check(fcntl(dgram[0], F_GETFL) & O_NONBLOCK && fcntl(packets[0], F_GETFD) == FD_CLOEXEC, "flags");
    check(receives(half[1], "last words") && recv(half[1], text, 1, 0) == 0, "half-closed stream");
    check(!sends(half[0], "x") && errno == EPIPE, "the closed half can send");
    check(sends(half[1], "still open") && receives(half[0], "still open"), "the open half");
    check(receives(widow[1], "inheritance") && recv(widow[1], text, 1, 0) == 0, "stream whose peer is gone");
    check(!sends(widow[1], "x") && errno == EPIPE, "its peer is back");
    check(sends(stream[0], "again") && receives(stream[1], "again"), "stream is not connected");
    return pass();
}
