/* Corked UDP data that was not sent yet, which no one can read: refused by name. */
#include "sockets.h"

int main(int argc, char **argv) {
    test_init(argc, argv);
    struct sockaddr_in6 address;
    socklen_t length;
    int receiver = loopback_bound(AF_INET, SOCK_DGRAM, &address, &length),
        sender = must(socket(AF_INET, SOCK_DGRAM, 0)), on = 1, off = 0;
    must(connect(sender, (struct sockaddr *)&address, length));
    must(setsockopt(sender, IPPROTO_UDP, 1 /* UDP_CORK */, &on, sizeof(on)));
    sends(sender, "first ");
    sends(sender, "second");
    test_daemon();
    test_waitsig();
    char text[32] = {0};
    check(nothing_to_receive(receiver), "the datagram was sent early");
    must(setsockopt(sender, IPPROTO_UDP, 1, &off, sizeof(off)));
    check(recv(receiver, text, sizeof(text), 0) == 12 && !strcmp(text, "first second"), "datagram is '%s'", text);
    return pass();
}
