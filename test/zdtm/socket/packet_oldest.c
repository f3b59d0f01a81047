/* A packet socket of the oldest type (SOCK_PACKET), bound to an interface by name: packets of that interface arrive. */
#include "sockets.h"

#include <linux/if_ether.h>

int main(int argc, char **argv) {
    test_init(argc, argv);
    int fd = must(socket(AF_PACKET, SOCK_PACKET, htons(ETH_P_ALL)));
    struct sockaddr name = {.sa_family = AF_PACKET, .sa_data = "lo"}, after;
    must(bind(fd, &name, sizeof(name)));
    test_daemon();
    test_waitsig();
    socklen_t length = sizeof(after);
    check(!getsockname(fd, &after, &length) && !strcmp(after.sa_data, "lo"), "bound to %s", after.sa_data);
    check(int_option(fd, SOL_SOCKET, SO_TYPE) == SOCK_PACKET, "type");
    struct sockaddr_in target = {.sin_family = AF_INET, .sin_port = htons(9)};
    target.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int udp = must(socket(AF_INET, SOCK_DGRAM, 0));
    must(sendto(udp, "look at me", 10, 0, (struct sockaddr *)&target, sizeof(target)));
    char packet[2000];
    check(recv(fd, packet, sizeof(packet), 0) >= 10, "no packet");
    return pass();
}
