/* Network namespaces of tasks below the root: devices, a pair of them between two namespaces, sockets of one address in
 * each, connections, settings. */
#include "links.h"
#include "sockets.h"

#define PORT 7001

static uint64_t first_number; /* of the first child's namespace */

static void write_setting(const char *path, const char *text) {
    int fd = must(open(path, O_WRONLY));
    must(write(fd, text, strlen(text)));
    close(fd);
}

static int read_setting(const char *path) {
    char text[32] = "";
    int fd = must(open(path, O_RDONLY));
    must(read(fd, text, sizeof(text) - 1));
    close(fd);
    return atoi(text);
}

/* A listener and a connection over the loopback at the same address and port as everywhere. */
static int connect_here(int ends[2]) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int listener = must(socket(AF_INET, SOCK_STREAM, 0)), one = 1;
    must(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)));
    must(bind(listener, (void *)&address, sizeof(address)));
    must(listen(listener, 4));
    ends[0] = must(socket(AF_INET, SOCK_STREAM, 0));
    must(connect(ends[0], (void *)&address, sizeof(address)));
    ends[1] = must(accept(listener, NULL, NULL));
    return listener;
}

static void talk(int from, int to, const char *text) {
    char got[64] = "";
    check(write(from, text, strlen(text)) == (ssize_t)strlen(text), "cannot send");
    check(read(to, got, sizeof(got) - 1) == (ssize_t)strlen(text) && !strcmp(got, text), "received \"%s\"", got);
}

static int bound_udp(const char *address) {
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(PORT + 1)};
    must(inet_pton(AF_INET, address, &here.sin_addr));
    int fd = must(socket(AF_INET, SOCK_DGRAM, 0));
    must(bind(fd, (void *)&here, sizeof(here)));
    return fd;
}

static void send_to(int fd, const char *address, const char *text) {
    struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = htons(PORT + 1)};
    must(inet_pton(AF_INET, address, &there.sin_addr));
    check(sendto(fd, text, strlen(text), 0, (void *)&there, sizeof(there)) > 0, "cannot send to %s", address);
}

/* In the namespace of its parent. */
static int companion(void *argument) {
    int ends[2];
    (void)argument;
    check(namespace_number("net") == first_number, "born in another namespace");
    tcp_pair(AF_INET, ends);
    child_wait();
    talk(ends[0], ends[1], "of the companion");
    check(if_nametoindex("extra") != 0, "it is in another network");
    return 0;
}

/* In a namespace of its own, with a link to its parent's. */
static int second(void *argument) {
    int ends[2];
    (void)argument;
    must(unshare(CLONE_NEWNET));
    link_up("lo");
    link_add_pair("right", "left", getppid());
    link_address("right", "10.9.0.2");
    link_up("right");
    connect_here(ends);
    int udp = bound_udp("10.9.0.2");
    unix_bound(SOCK_DGRAM, "@net-below");
    child_wait();
    talk(ends[0], ends[1], "second");
    send_to(udp, "10.9.0.1", "over the pair");
    check(if_nametoindex("extra") == 0, "the first one's link is here");
    check(read_setting("/proc/sys/net/ipv4/conf/all/forwarding") == 0, "forwarding, as the first one has it");
    return 0;
}

static int first(void *argument) {
    int ends[2];
    (void)argument;
    must(unshare(CLONE_NEWNET));
    first_number = namespace_number("net");
    link_up("lo");
    link_add("extra", "bridge");
    write_setting("/proc/sys/net/ipv4/conf/all/forwarding", "1");
    write_setting("/proc/sys/net/unix/max_dgram_qlen", "33");
    pid_t with_us = spawn(companion, NULL), other = spawn(second, NULL);
    link_address("left", "10.9.0.1");
    link_up("left");
    connect_here(ends);
    int udp = bound_udp("10.9.0.1");
    unix_bound(SOCK_DGRAM, "@net-below");
    const unsigned extra = if_nametoindex("extra"), left = if_nametoindex("left");
    child_wait();
    char text[32] = "";
    struct sockaddr_un address;
    finish_child(other);
    talk(ends[0], ends[1], "first");
    talk(ends[1], ends[0], "and back");
    check(recv(udp, text, sizeof(text), 0) > 0 && !strcmp(text, "over the pair"), "received \"%s\" over the pair", text);
    check(if_nametoindex("extra") == extra && if_nametoindex("left") == left, "other links");
    check(read_setting("/proc/sys/net/ipv4/conf/all/forwarding") == 1, "forwarding");
    check(read_setting("/proc/sys/net/unix/max_dgram_qlen") == 33, "max_dgram_qlen");
    check(bind(socket(AF_UNIX, SOCK_DGRAM, 0), (void *)&address, unix_address(&address, "@net-below")) < 0,
          "the socket is not bound here");
    finish_child(with_us);
    return 0;
}

int main(int argc, char **argv) {
    int ends[2];
    test_init(argc, argv);
    connect_here(ends);
    unix_bound(SOCK_DGRAM, "@net-below");
    pid_t child = spawn(first, NULL);
    test_daemon();
    test_waitsig();
    talk(ends[0], ends[1], "root");
    finish_child(child);
    return pass();
}
