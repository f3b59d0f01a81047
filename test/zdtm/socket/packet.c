/* Packet sockets: protocol, interface, options, a ring, and packets after restore. */
#include "sockets.h"

#include <linux/if_ether.h>
#include <linux/if_packet.h>

int main(int argc, char **argv) {
    test_init(argc, argv);
    int fd = must(socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL))), ring = must(socket(AF_PACKET, SOCK_DGRAM, 0)), on = 1,
        version = TPACKET_V2;
    struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP), .sll_ifindex = 1}, after;
    must(bind(fd, (struct sockaddr *)&address, sizeof(address)));
    must(setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &on, sizeof(on)));
    must(setsockopt(ring, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)));
    struct tpacket_req request = {8192, 4, 2048, 16};
    must(setsockopt(ring, SOL_PACKET, PACKET_RX_RING, &request, sizeof(request)));
    uint8_t *map = (void *)must(mmap(NULL, 32768, PROT_READ | PROT_WRITE, MAP_SHARED, ring, 0));
    test_daemon();
    test_waitsig();
    socklen_t length = sizeof(after);
    check(!getsockname(fd, (struct sockaddr *)&after, &length) && after.sll_protocol == htons(ETH_P_IP) &&
              after.sll_ifindex == 1,
          "address");
    check(int_option(fd, SOL_PACKET, PACKET_AUXDATA) == 1, "PACKET_AUXDATA");
    check(int_option(ring, SOL_PACKET, PACKET_VERSION) == TPACKET_V2, "version");
    address.sll_protocol = htons(ETH_P_IP);
    check(bind(ring, (struct sockaddr *)&address, sizeof(address)) == 0, "bind");
    struct sockaddr_in target = {.sin_family = AF_INET, .sin_port = htons(9)};
    target.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int udp = must(socket(AF_INET, SOCK_DGRAM, 0));
    must(sendto(udp, "look at me", 10, 0, (struct sockaddr *)&target, sizeof(target)));
    char packet[2000];
    ssize_t n = recv(fd, packet, sizeof(packet), 0);
    check(n >= 10, "no packet");
    volatile struct tpacket2_hdr *header = (void *)map;
    for (int i = 0; i < 1000 && !(header->tp_status & TP_STATUS_USER); i++)
        sleep_ms(1);
    check(header->tp_status & TP_STATUS_USER && header->tp_len >= 10, "nothing arrives in the ring");
    return pass();
}
