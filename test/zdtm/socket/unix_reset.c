/* A reset connection of packets in which packets wait: the reader gets the error, then the packets, then the end. The same
 * for a stream with descriptors on their way, which takes several looks. */
#include "sockets.h"

#include <poll.h>

static int reset_by_peer(int type) {
    int ends[2];
    must(socketpair(AF_UNIX, type, 0, ends));
    sends(ends[0], "unread");
    if (type == SOCK_STREAM)
        send_fds(ends[1], &(int){STDOUT_FILENO}, 1);
    else
        sends(ends[1], "first");
    sends(ends[1], "second");
    must(close(ends[1]));
    return ends[0];
}

static void check_pending(int fd, const char *what) {
    struct pollfd ready = {fd, POLLIN, 0};
    check(poll(&ready, 1, 0) == 1 && ready.revents & POLLERR, "%s: the reset is lost", what);
}

static void check_end(int fd, const char *what) {
    char byte;
    check(recv(fd, &byte, 1, 0) == 0, "%s: something is left", what);
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    int packets = reset_by_peer(SOCK_SEQPACKET);
    int stream = reset_by_peer(SOCK_STREAM);

    test_daemon();
    test_waitsig();

    char text[16];
    check_pending(packets, "packets");
    check_pending(stream, "stream");
    check(recv(packets, text, sizeof(text), 0) == -1 && errno == ECONNRESET, "packets: no error");
    check(receives(packets, "first") && receives(packets, "second"), "packets: not what was sent");
    check_end(packets, "packets");
    int passed;
    check(receive_fds(stream, &passed, 1) == 1 && receives(stream, "second"), "stream: not what was sent");
    check(recv(stream, text, 1, 0) == -1 && errno == ECONNRESET, "stream: no error at its end");
    check_end(stream, "stream");
    return pass();
}
