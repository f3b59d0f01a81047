/* A connection that is being established (SYN_SENT) while nobody answers; it comes about when the server has room. */
#include "sockets.h"

#include <poll.h>

int main(int argc, char **argv) {
    test_init(argc, argv);
    struct sockaddr_in6 address;
    socklen_t length;
    int listener = loopback_bound(AF_INET, SOCK_STREAM, &address, &length), fill[8];
    must(listen(listener, 0));
    /* More than the queue takes: the last ones stay in SYN_SENT. */
    for (size_t i = 0; i < ARRAY_SIZE(fill); i++) {
        fill[i] = must(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
        connect(fill[i], (struct sockaddr *)&address, length);
    }
    sleep_ms(50);
    int last = fill[ARRAY_SIZE(fill) - 1];
    struct tcp_info info;
    socklen_t size = sizeof(info);
    must(getsockopt(last, IPPROTO_TCP, TCP_INFO, &info, &size));
    check(info.tcpi_state == TCP_SYN_SENT, "set-up: state %d", info.tcpi_state);
    /* Make room by taking the queued ones; then only the waiting ones matter. */
    int accepted[8], count = 0;
    must(fcntl(listener, F_SETFL, O_NONBLOCK));
    while ((accepted[count] = accept(listener, NULL, NULL)) >= 0 && count < 6)
        count++;
    test_daemon();
    test_waitsig();
    struct pollfd fd = {last, POLLOUT, 0};
    int error = -1;
    size = sizeof(error);
    /* Which of the waiting ones takes the room is up to the kernel: make more. */
    for (int i = 0; i < 150 && poll(&fd, 1, 100) != 1; i++)
        accept(listener, NULL, NULL);
    check(fd.revents == POLLOUT, "the connection does not come about");
    check(!getsockopt(last, SOL_SOCKET, SO_ERROR, &error, &size) && error == 0, "error %d", error);
    check(send(last, "x", 1, MSG_NOSIGNAL) == 1, "send");
    return pass();
}
