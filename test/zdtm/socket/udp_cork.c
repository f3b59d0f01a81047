/* UDP data that is held back (UDP_CORK, MSG_MORE): lost or sent early, cut where the kernel keeps it in pieces, going
 * elsewhere, with another source, hop limit, class or segment size than its first write has said. */
#include "sockets.h"

#ifndef UDP_CORK
#define UDP_CORK 1
#endif
#define UDP_SEGMENT 103
#define LARGE 60000

static char pattern(size_t i) {
    return (char)(i * 7 + i / 251);
}

static void fill(char *data, size_t length) {
    for (size_t i = 0; i < length; i++)
        data[i] = pattern(i);
}

static void cork(int fd, int on) {
    must(setsockopt(fd, IPPROTO_UDP, UDP_CORK, &on, sizeof(on)));
}

/* A datagram in two pieces, to where the socket is not connected to, from 127.0.0.9, with a ttl and a class. */
static void send_special(int fd, struct sockaddr_in6 *to, socklen_t length, bool v4) {
    char control[256] = {0}, text[] = "spe";
    struct iovec part = {text, 3};
    struct msghdr message = {
        .msg_name = to, .msg_namelen = length, .msg_iov = &part, .msg_iovlen = 1, .msg_control = control};
    struct {
        int level, type;
        size_t size;
        const void *value;
    } all[] = {
        {v4 ? SOL_IP : SOL_IPV6, v4 ? IP_TTL : IPV6_HOPLIMIT, 4, &(int){33}},
        {v4 ? SOL_IP : SOL_IPV6, v4 ? IP_TOS : IPV6_TCLASS, 4, &(int){0x28}},
        {SOL_IP, IP_PKTINFO, sizeof(struct in_pktinfo), &(struct in_pktinfo){.ipi_spec_dst = {htonl(0x7f000009)}}},
    };
    for (int i = 0; i < (v4 ? 3 : 2); i++) {
        struct cmsghdr *header = (struct cmsghdr *)(control + message.msg_controllen);
        header->cmsg_level = all[i].level;
        header->cmsg_type = all[i].type;
        header->cmsg_len = CMSG_LEN(all[i].size);
        memcpy(CMSG_DATA(header), all[i].value, all[i].size);
        message.msg_controllen += CMSG_SPACE(all[i].size);
    }
    must(sendmsg(fd, &message, MSG_MORE));
    must(send(fd, "cial", 4, MSG_MORE));
}

static void check_special(int receiver, bool v4) {
    char text[32] = {0}, control[256];
    struct sockaddr_in6 from;
    struct iovec part = {text, sizeof(text)};
    struct msghdr message = {.msg_name = &from,
                             .msg_namelen = sizeof(from),
                             .msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof(control)};
    check(recvmsg(receiver, &message, MSG_DONTWAIT) == 7 && !strcmp(text, "special"), "special datagram is '%s'", text);
    if (v4)
        check(((struct sockaddr_in *)&from)->sin_addr.s_addr == htonl(0x7f000009), "another source");
    int ttl = 0, class = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
        if (c->cmsg_type == (v4 ? IP_TTL : IPV6_HOPLIMIT))
            memcpy(&ttl, CMSG_DATA(c), 4);
        if (c->cmsg_type == (v4 ? IP_TOS : IPV6_TCLASS))
            memcpy(&class, CMSG_DATA(c), v4 ? 1 : 4);
    }
    check(ttl == 33 && class == 0x28, "ttl %d, class %#x", ttl, class);
}

struct family {
    int receiver, other, plain, large, special, segments;
    struct sockaddr_in6 address, other_address;
};

static void prepare(struct family *f, int family) {
    socklen_t length;
    bool v4 = family == AF_INET;
    int on = 1;
    f->receiver = loopback_bound(family, SOCK_DGRAM, &f->address, &length);
    f->other = loopback_bound(family, SOCK_DGRAM, &f->other_address, &length);
    must(setsockopt(f->other, v4 ? SOL_IP : SOL_IPV6, v4 ? IP_RECVTTL : IPV6_RECVHOPLIMIT, &on, sizeof(on)));
    must(setsockopt(f->other, v4 ? SOL_IP : SOL_IPV6, v4 ? IP_RECVTOS : IPV6_RECVTCLASS, &on, sizeof(on)));
    for (int *fd = &f->plain; fd <= &f->segments; fd++) {
        *fd = must(socket(family, SOCK_DGRAM, 0));
        must(connect(*fd, (struct sockaddr *)&f->address, length));
    }
    cork(f->plain, 1);
    sends(f->plain, "first ");
    sends(f->plain, "second");
    static char data[LARGE];
    fill(data, LARGE);
    must(send(f->large, data, 10, MSG_MORE));
    must(send(f->large, data + 10, LARGE - 10, MSG_MORE));
    if (v4) { /* a source of one's own wants a socket that has none */
        close(f->special);
        f->special = must(socket(family, SOCK_DGRAM, 0));
    }
    send_special(f->special, &f->other_address, length, v4);
    must(setsockopt(f->segments, IPPROTO_UDP, UDP_SEGMENT, &(int){4}, sizeof(int)));
    must(send(f->segments, "onlytwo", 7, MSG_MORE));
    must(setsockopt(f->segments, IPPROTO_UDP, UDP_SEGMENT, &(int){0}, sizeof(int)));
}

static void verify(struct family *f, bool v4) {
    static char data[LARGE + 1], wanted[LARGE];
    check(nothing_to_receive(f->receiver) && nothing_to_receive(f->other), "a datagram was sent early");
    cork(f->plain, 0);
    ssize_t got = recv(f->receiver, data, sizeof(data), MSG_DONTWAIT);
    check(got == 12 && !memcmp(data, "first second", 12), "datagram of %zd bytes", got);
    check(sends(f->plain, "third") && receives(f->receiver, "third"), "the socket does not send any more");
    cork(f->large, 0);
    fill(wanted, LARGE);
    got = recv(f->receiver, data, sizeof(data), MSG_DONTWAIT);
    check(got == LARGE && !memcmp(data, wanted, LARGE), "large datagram: %zd bytes", got);
    cork(f->special, 0);
    check_special(f->other, v4);
    cork(f->segments, 0);
    check(recv(f->receiver, data, sizeof(data), MSG_DONTWAIT) == 4 && !memcmp(data, "only", 4), "first segment");
    check(recv(f->receiver, data, sizeof(data), MSG_DONTWAIT) == 3 && !memcmp(data, "two", 3), "second segment");
    check(nothing_to_receive(f->receiver) && nothing_to_receive(f->other), "a datagram too many");
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    struct family v4, v6;
    prepare(&v4, AF_INET);
    prepare(&v6, AF_INET6);
    /* An IPv6 socket with something for IPv4. */
    struct sockaddr_in6 mapped = {.sin6_family = AF_INET6, .sin6_port = v4.address.sin6_port};
    mapped.sin6_addr.s6_addr32[2] = htonl(0xffff), mapped.sin6_addr.s6_addr32[3] = htonl(INADDR_LOOPBACK);
    int dual = must(socket(AF_INET6, SOCK_DGRAM, 0));
    must(sendto(dual, "mapped", 6, MSG_MORE, (struct sockaddr *)&mapped, sizeof(mapped)));
    test_daemon();
    test_waitsig();
    verify(&v4, true);
    verify(&v6, false);
    cork(dual, 0);
    check(receives(v4.receiver, "mapped"), "what goes from IPv6 to IPv4");
    return pass();
}
