/* Unix sockets among tasks: ends in different processes, one end in two, an end that only a queue holds, queues larger
 * than the buffers are now, options. */
#include "sockets.h"

static int answer(void *argument) {
    int *across = argument;
    close(across[0]);
    int own[2];
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, own));
    child_wait();
    struct ucred peer;
    socklen_t length = sizeof(peer);
    check(!getsockopt(own[0], SOL_SOCKET, SO_PEERCRED, &peer, &length) && peer.pid == getpid(), "peer is %d", peer.pid);
    check(receives(across[1], "to the child") && sends(across[1], "to the parent"), "pair across tasks");
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    int across[2], large[2], held[2], carrier[2];
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, across));
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, large));
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, held));
    must(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, carrier));
    int size = 1 << 20, small = 4096, on = 1;
    must(setsockopt(large[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)));
    char *data = malloc(300000);
    for (int i = 0; i < 300000; i++)
        data[i] = i * 7 + i / 251;
    must(fcntl(large[0], F_SETFL, O_NONBLOCK));
    ssize_t sent = must(write(large[0], data, 300000));
    must(setsockopt(large[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)));
    small = int_option(large[0], SOL_SOCKET, SO_SNDBUF);
    must(setsockopt(large[1], SOL_SOCKET, SO_RCVLOWAT, &(int){5}, sizeof(int)));
    must(setsockopt(across[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)));
    /* Nobody but the queue has this end, and something waits in it. */
    sends(held[1], "for the hidden end");
    send_fds(carrier[0], &held[0], 1);
    close(held[0]);
    pid_t child = spawn(answer, across);
    close(across[1]);
    test_daemon();
    test_waitsig();

    check(sends(across[0], "to the child"), "pair");
    finish_child(child);
    check(receives(across[0], "to the parent"), "answer");
    char byte;
    check(recv(across[0], &byte, 1, 0) == 0, "an end is open that was closed");
    check(int_option(across[0], SOL_SOCKET, SO_PASSCRED) == 1, "SO_PASSCRED");
    check(int_option(large[0], SOL_SOCKET, SO_SNDBUF) == small, "SO_SNDBUF");
    check(int_option(large[1], SOL_SOCKET, SO_RCVLOWAT) == 5, "SO_RCVLOWAT");
    for (ssize_t i = 0; i < sent;) {
        char buffer[8192];
        ssize_t n = recv(large[1], buffer, sizeof(buffer), MSG_DONTWAIT);
        check(n > 0 && !memcmp(buffer, data + i, n), "large queue at %zd", i);
        i += n;
    }
    check(nothing_to_receive(large[1]), "more than was sent");
    int inside;
    check(receive_fds(carrier[1], &inside, 1) == 1 && receives(inside, "for the hidden end"), "end in a queue");
    check(sends(inside, "x") && receives(held[1], "x"), "its connection");
    return pass();
}
