/* Threads that block in accept, recv and sendmsg: they go on waiting and get what comes after the restore. */
#include "blocked_calls.h"
#include "sockets.h"

static int listener, pair[2], tcp[2];
static struct sockaddr_in6 address;
static socklen_t length;

static long call_accept(void) {
    return raw(SYS_accept, listener, NULL, NULL) >= 0 ? 0 : -errno;
}
static void wake_accept(void) {
    must(connect(must(socket(AF_INET, SOCK_STREAM, 0)), (struct sockaddr *)&address, length));
}
static long call_recv(void) {
    char text[8];
    return raw(SYS_recvfrom, pair[1], text, sizeof(text), 0, NULL, NULL);
}
static void wake_recv(void) {
    sends(pair[0], "abcd");
}
static long call_tcp(void) {
    char text[8];
    return raw(SYS_read, tcp[1], text, sizeof(text));
}
static void wake_tcp(void) {
    sends(tcp[0], "abcde");
}

static struct blocked_call calls[] = {
    {"accept", call_accept, 0, wake_accept},
    {"recvfrom", call_recv, 4, wake_recv},
    {"read of a TCP connection", call_tcp, 5, wake_tcp},
};

int main(int argc, char **argv) {
    test_init(argc, argv);
    listener = loopback_bound(AF_INET, SOCK_STREAM, &address, &length);
    must(listen(listener, 5));
    must(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
    close(tcp_pair(AF_INET, tcp));
    start_blocked_calls(calls, ARRAY_SIZE(calls));
    test_daemon();
    test_waitsig();
    finish_blocked_calls(calls, ARRAY_SIZE(calls));
    return pass();
}
