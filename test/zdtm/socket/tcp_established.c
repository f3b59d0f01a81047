/* Established TCP connections, IPv4 and IPv6, both ends in the tree: data in both queues, options, and an orderly end.
 */
#include "sockets.h"

struct option {
    int level, name, value;
};
static const struct option kOptions[] = {
    {SOL_SOCKET, SO_KEEPALIVE, 1},          {IPPROTO_TCP, TCP_NODELAY, 1}, {IPPROTO_TCP, TCP_KEEPIDLE, 111},
    {IPPROTO_TCP, TCP_KEEPINTVL, 22},       {IPPROTO_TCP, TCP_KEEPCNT, 3}, {IPPROTO_TCP, TCP_USER_TIMEOUT, 54321},
    {SOL_SOCKET, SO_PRIORITY, 4},           {SOL_SOCKET, SO_RCVLOWAT, 2},  {IPPROTO_TCP, TCP_LINGER2, 17},
    {IPPROTO_TCP, TCP_NOTSENT_LOWAT, 9999}, {IPPROTO_TCP, TCP_SYNCNT, 4},  {SOL_SOCKET, SO_OOBINLINE, 1},
};

/* Bytes of a full segment. */
static int segment_size(int fd) {
    struct tcp_info info;
    socklen_t length = sizeof(info);
    must(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length));
    return (int)info.tcpi_snd_mss;
}

static void exercise(int family) {
    static uint8_t data[200000], buffer[200000];
    int ends[2], listener = tcp_pair(family, ends);
    struct sockaddr_in6 names[4], after[4];
    for (int i = 0; i < 2; i++) {
        socklen_t length = sizeof(names[0]);
        must(getsockname(ends[i], (struct sockaddr *)&names[i], &length));
        must(getpeername(ends[i], (struct sockaddr *)&names[i + 2], &length));
    }
    datagen(data, sizeof(data), NULL);
    must(send(ends[0], data, 100000, 0));
    must(send(ends[1], data + 100000, 70000, 0));
    /* TCP_NOTSENT_LOWAT would have kept back what the other's window does not take. */
    for (size_t i = 0; i < ARRAY_SIZE(kOptions); i++)
        must(setsockopt(ends[0], kOptions[i].level, kOptions[i].name, &kOptions[i].value, sizeof(int)));
    must(setsockopt(ends[1], IPPROTO_TCP, TCP_CONGESTION, "reno", 4));
    close(listener);
    const int segments[] = {segment_size(ends[0]), segment_size(ends[1])};
    child_wait();

    for (int i = 0; i < 2; i++) {
        socklen_t length = sizeof(names[0]);
        check(!getsockname(ends[i], (struct sockaddr *)&after[i], &length) && !memcmp(&names[i], &after[i], length),
              "own name");
        check(!getpeername(ends[i], (struct sockaddr *)&after[i + 2], &length) &&
                  !memcmp(&names[i + 2], &after[i + 2], length),
              "peer's name");
    }
    for (size_t i = 0; i < ARRAY_SIZE(kOptions); i++)
        check(int_option(ends[0], kOptions[i].level, kOptions[i].name) == kOptions[i].value, "option %zu is %d", i,
              int_option(ends[0], kOptions[i].level, kOptions[i].name));
    char congestion[16] = {0};
    socklen_t length = sizeof(congestion);
    check(!getsockopt(ends[1], IPPROTO_TCP, TCP_CONGESTION, congestion, &length) && !strcmp(congestion, "reno"),
          "congestion control %s", congestion);
    check(recv(ends[1], buffer, 100000, MSG_WAITALL) == 100000 && !memcmp(buffer, data, 100000), "data of the client");
    check(recv(ends[0], buffer, 70000, MSG_WAITALL) == 70000 && !memcmp(buffer, data + 100000, 70000),
          "data of the server");
    for (int i = 0; i < 2; i++)
        check(segment_size(ends[i]) >= segments[i], "segments of %d bytes instead of %d", segment_size(ends[i]), segments[i]);
    check(nothing_to_receive(ends[0]) && nothing_to_receive(ends[1]), "more than was sent");
    check(sends(ends[0], "ping") && receives(ends[1], "ping") && sends(ends[1], "pong") && receives(ends[0], "pong"),
          "connection");
    close(ends[0]);
    check(recv(ends[1], buffer, 1, 0) == 0, "no end of stream");
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
