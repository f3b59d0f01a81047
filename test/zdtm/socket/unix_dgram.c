/* Datagram unix sockets: queues with their senders' addresses, connected and not, several senders to one receiver. */
#include "sockets.h"

static bool from(int fd, const char *text, const char *sender) {
    char buffer[64] = {0};
    struct sockaddr_un address = {0};
    socklen_t length = sizeof(address);
    ssize_t n = recvfrom(fd, buffer, sizeof(buffer) - 1, MSG_DONTWAIT, (struct sockaddr *)&address, &length);
    return n == (ssize_t)strlen(text) && !strcmp(buffer, text) &&
           (sender ? !strcmp(address.sun_path, sender) : length <= offsetof(struct sockaddr_un, sun_path));
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    int receiver = unix_bound(SOCK_DGRAM, "receiver"), named = unix_bound(SOCK_DGRAM, "named"),
        gone = unix_bound(SOCK_DGRAM, "gone");
    struct sockaddr_un address;
    socklen_t length = unix_address(&address, "receiver");
    int nameless = unix_connected(SOCK_DGRAM, "receiver");
    must(sendto(named, "from named", 10, 0, (struct sockaddr *)&address, length));
    sends(nameless, "from nameless");
    must(sendto(gone, "from the dead", 13, 0, (struct sockaddr *)&address, length));
    close(gone);
    must(sendto(named, "again", 5, 0, (struct sockaddr *)&address, length));
    test_daemon();
    test_waitsig();
    check(from(receiver, "from named", "named"), "first datagram or its sender");
    check(from(receiver, "from nameless", NULL), "datagram without sender");
    check(from(receiver, "from the dead", "gone"), "datagram of a closed socket");
    check(from(receiver, "again", "named"), "last datagram");
    check(nothing_to_receive(receiver), "more datagrams");
    check(sends(nameless, "new") && from(receiver, "new", NULL), "connected sender");
    check(sendto(named, "x", 1, 0, (struct sockaddr *)&address, length) == 1 && from(receiver, "x", "named"),
          "sender with a name");
    return pass();
}
