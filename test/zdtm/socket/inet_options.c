/* Options of the levels IP, IPv6, TCP and UDP, on listening, connected and fresh sockets. */
#include "sockets.h"

struct option {
    int level, name, value;
};
static const struct option kTcp[] = {
    {IPPROTO_TCP, TCP_NODELAY, 1},      {IPPROTO_TCP, TCP_KEEPIDLE, 77},      {IPPROTO_TCP, TCP_KEEPINTVL, 11},
    {IPPROTO_TCP, TCP_KEEPCNT, 4},      {IPPROTO_TCP, TCP_SYNCNT, 3},         {IPPROTO_TCP, TCP_LINGER2, 13},
    {IPPROTO_TCP, TCP_USER_TIMEOUT, 9}, {IPPROTO_TCP, TCP_NOTSENT_LOWAT, 99}, {IPPROTO_TCP, TCP_SAVE_SYN, 1},
    {IPPROTO_TCP, 36 /* TCP_INQ */, 1}, {IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, 1},
    {IPPROTO_IP, IP_TOS, 16},           {IPPROTO_IP, IP_TTL, 31},             {IPPROTO_IP, IP_MTU_DISCOVER, 2},
    {IPPROTO_IP, IP_RECVTOS, 1},        {IPPROTO_IP, IP_MINTTL, 2},           {SOL_SOCKET, SO_KEEPALIVE, 1},
};
static const struct option kUdp4[] = {
    {IPPROTO_IP, IP_PKTINFO, 1},       {IPPROTO_IP, IP_RECVERR, 1},         {IPPROTO_IP, IP_RECVTTL, 1},
    {IPPROTO_IP, IP_RECVOPTS, 1},      {IPPROTO_IP, IP_FREEBIND, 1},        {IPPROTO_IP, IP_TRANSPARENT, 1},
    {IPPROTO_IP, IP_MTU_DISCOVER, 0},  {IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1}, {IPPROTO_IP, IP_RECVORIGDSTADDR, 1},
    {SOL_SOCKET, SO_TIMESTAMPNS, 1},   {SOL_SOCKET, SO_BROADCAST, 1},       {SOL_SOCKET, SO_ZEROCOPY, 1},
    {SOL_SOCKET, SO_SELECT_ERR_QUEUE, 1},
};
static const struct option kUdp6[] = {
    {IPPROTO_IPV6, IPV6_V6ONLY, 1},       {IPPROTO_IPV6, IPV6_RECVPKTINFO, 1}, {IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1},
    {IPPROTO_IPV6, IPV6_UNICAST_HOPS, 9}, {IPPROTO_IPV6, IPV6_TCLASS, 8},      {IPPROTO_IPV6, IPV6_RECVTCLASS, 1},
    {IPPROTO_IPV6, IPV6_DONTFRAG, 1},     {IPPROTO_IPV6, IPV6_RECVERR, 1},     {IPPROTO_IPV6, IPV6_MTU_DISCOVER, 3},
    {IPPROTO_IPV6, IPV6_RECVRTHDR, 1},    {IPPROTO_IPV6, IPV6_AUTOFLOWLABEL, 0}, {SOL_SOCKET, SO_PEEK_OFF, 3},
};

static void set_all(int fd, const struct option *options, size_t count, int *values) {
    for (size_t i = 0; i < count; i++) {
        if (setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof(int)))
            fail("set-up: option %d of level %d", options[i].name, options[i].level);
        values[i] = int_option(fd, options[i].level, options[i].name);
    }
}

static void check_all(int fd, const char *what, const struct option *options, size_t count, const int *values) {
    for (size_t i = 0; i < count; i++)
        check(int_option(fd, options[i].level, options[i].name) == values[i], "%s: option %d of level %d is %d, was %d",
              what, options[i].name, options[i].level, int_option(fd, options[i].level, options[i].name), values[i]);
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    enum { kSockets = 3 };
    int ends[2], tcp[kSockets], values[kSockets][ARRAY_SIZE(kTcp)], values4[ARRAY_SIZE(kUdp4)],
        values6[ARRAY_SIZE(kUdp6)];
    tcp[0] = tcp_pair(AF_INET, ends); /* listening */
    tcp[1] = ends[0];
    tcp[2] = must(socket(AF_INET, SOCK_STREAM, 0));
    for (int i = 0; i < kSockets; i++) {
        set_all(tcp[i], kTcp, ARRAY_SIZE(kTcp), values[i]);
        must(setsockopt(tcp[i], IPPROTO_TCP, TCP_CONGESTION, "reno", 4));
    }
    int fastopen = 5, segment = 1000, clamp = 30000;
    must(setsockopt(tcp[0], IPPROTO_TCP, TCP_FASTOPEN, &fastopen, sizeof(fastopen)));
    must(setsockopt(tcp[2], IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof(segment)));
    must(setsockopt(tcp[2], IPPROTO_TCP, TCP_WINDOW_CLAMP, &clamp, sizeof(clamp)));
    int udp4 = must(socket(AF_INET, SOCK_DGRAM, 0)), udp6 = must(socket(AF_INET6, SOCK_DGRAM, 0));
    set_all(udp4, kUdp4, ARRAY_SIZE(kUdp4), values4);
    set_all(udp6, kUdp6, ARRAY_SIZE(kUdp6), values6);
    test_daemon();
    test_waitsig();
    static const char *const kNames[] = {"listening", "connected", "fresh"};
    for (int i = 0; i < kSockets; i++) {
        check_all(tcp[i], kNames[i], kTcp, ARRAY_SIZE(kTcp), values[i]);
        char name[16] = {0};
        socklen_t length = sizeof(name);
        check(!getsockopt(tcp[i], IPPROTO_TCP, TCP_CONGESTION, name, &length) && !strcmp(name, "reno"), "congestion %s",
              name);
    }
    check(int_option(tcp[0], IPPROTO_TCP, TCP_FASTOPEN) == 5, "TCP_FASTOPEN");
    check(int_option(tcp[2], IPPROTO_TCP, TCP_MAXSEG) == 1000, "TCP_MAXSEG");
    check(int_option(tcp[2], IPPROTO_TCP, TCP_WINDOW_CLAMP) == 30000, "TCP_WINDOW_CLAMP");
    check_all(udp4, "UDP", kUdp4, ARRAY_SIZE(kUdp4), values4);
    check_all(udp6, "UDP of IPv6", kUdp6, ARRAY_SIZE(kUdp6), values6);
    check(sends(ends[0], "hello") && receives(ends[1], "hello"), "connection");
    return pass();
}
