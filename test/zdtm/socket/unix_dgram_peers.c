/* Datagram unix sockets that have changed their minds: pairs whose ends have found other peers, older datagrams from
 * others in front of the peer's, full queues with somebody waiting, senders with abstract names. */
#include "sockets.h"

static void join(int fd, const char *name) {
    struct sockaddr_un address;
    must(connect(fd, (struct sockaddr *)&address, unix_address(&address, name)));
}

static bool from(int fd, const char *text, const char *sender) {
    char buffer[64] = {0};
    struct sockaddr_un address = {0};
    socklen_t length = sizeof(address);
    ssize_t n = recvfrom(fd, buffer, sizeof(buffer) - 1, MSG_DONTWAIT, (struct sockaddr *)&address, &length);
    address.sun_path[0] = address.sun_path[0] || length <= sizeof(sa_family_t) ? address.sun_path[0] : '@';
    return n == (ssize_t)strlen(text) && !strcmp(buffer, text) && !strcmp(address.sun_path, sender);
}

static int fill(int fd) {
    int count = 0;
    while (send(fd, &count, sizeof(count), MSG_DONTWAIT) == sizeof(count))
        count++;
    return count;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    /* The second end of a pair talks to somebody else now. */
    int pair[2], target = unix_bound(SOCK_DGRAM, "target");
    must(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
    sends(pair[1], "while we were a pair");
    join(pair[1], "target");
    recv(pair[0], NULL, 0, MSG_OOB); /* no error may be pending */
    int_option(pair[0], SOL_SOCKET, SO_ERROR);
    sends(pair[1], "to the target");
    /* One that was open to all is connected to one. */
    char name[32];
    snprintf(name, sizeof(name), "@peers-%d", getpid());
    int picky = unix_bound(SOCK_DGRAM, "picky"), friend = unix_bound(SOCK_DGRAM, name),
        stranger = unix_bound(SOCK_DGRAM, "stranger");
    join(stranger, "picky");
    join(friend, "picky");
    sends(friend, "1");
    sends(stranger, "2");
    sends(friend, "3");
    join(picky, name);
    sends(friend, "4");
    check(!sends(stranger, "5") && errno == EPERM, "the kernel has changed");
    for (int i = 0; i < 40; i++)
        sends(friend, "many");
    /* A full queue. */
    int full = unix_bound(SOCK_DGRAM, "full"), writer = unix_connected(SOCK_DGRAM, "full");
    int count = fill(writer);
    pid_t child = must(fork());
    if (child == 0) {
        check(send(writer, "late", 4, 0) == 4, "waiting sender");
        _exit(0);
    }
    test_daemon();
    test_waitsig();

    check(from(pair[0], "while we were a pair", ""), "datagram from the time of the pair");
    check(nothing_to_receive(pair[0]), "more from there");
    check(from(target, "to the target", ""), "datagram to the new peer");
    check(sends(pair[1], "more") && from(target, "more", ""), "new peer");
    check(from(picky, "1", name) && from(picky, "2", "stranger") && from(picky, "3", name) && from(picky, "4", name),
          "datagrams of several senders");
    for (int i = 0; i < 40; i++)
        check(from(picky, "many", name), "datagram %d", i);
    check(!sends(stranger, "5") && errno == EPERM, "a stranger can send");
    check(sends(friend, "6") && from(picky, "6", name) && sends(picky, "7") && from(friend, "7", "picky"), "friends");
    for (int i = 0; i < count; i++) {
        int found = -1;
        check(recv(full, &found, sizeof(found), MSG_DONTWAIT) == sizeof(found) && found == i, "datagram %d of a full queue",
              i);
    }
    check(receives(full, "late"), "what waited for room");
    expect_wait_status(child, 0);
    return pass();
}
