/* Raw sockets: protocol, own headers, ICMP filters, addresses, IPv6 checksums. */
#include "sockets.h"

#include <linux/icmp.h>
#include <netinet/icmp6.h>

int main(int argc, char **argv) {
    test_init(argc, argv);
    struct sockaddr_in address = {.sin_family = AF_INET}, after;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int on = 1, offset = 4, icmp = must(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP)),
        own = must(socket(AF_INET, SOCK_RAW, 253)), icmp6 = must(socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6)),
        sum = must(socket(AF_INET6, SOCK_RAW, 254)), any = must(socket(AF_INET, SOCK_RAW, IPPROTO_RAW));
    struct icmp_filter filter = {~(1u << ICMP_ECHOREPLY)}, filter_after;
    must(setsockopt(icmp, SOL_RAW, ICMP_FILTER, &filter, sizeof(filter)));
    must(bind(icmp, (struct sockaddr *)&address, sizeof(address)));
    must(connect(icmp, (struct sockaddr *)&address, sizeof(address)));
    must(setsockopt(own, IPPROTO_IP, IP_HDRINCL, &on, sizeof(on)));
    struct icmp6_filter filter6, filter6_after;
    ICMP6_FILTER_SETBLOCKALL(&filter6);
    ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &filter6);
    must(setsockopt(icmp6, IPPROTO_ICMPV6, ICMP6_FILTER, &filter6, sizeof(filter6)));
    must(setsockopt(sum, SOL_RAW, 7 /* IPV6_CHECKSUM */, &offset, sizeof(offset)));
    test_daemon();
    test_waitsig();
    socklen_t length = sizeof(filter);
    check(!getsockopt(icmp, SOL_RAW, ICMP_FILTER, &filter_after, &length) && filter_after.data == filter.data, "filter");
    length = sizeof(after);
    check(!getsockname(icmp, (struct sockaddr *)&after, &length) && after.sin_addr.s_addr == address.sin_addr.s_addr,
          "own address");
    check(int_option(own, IPPROTO_IP, IP_HDRINCL) == 1 && int_option(own, SOL_SOCKET, SO_PROTOCOL) == 253, "IP_HDRINCL");
    check(int_option(any, IPPROTO_IP, IP_HDRINCL) == 1, "IP_HDRINCL of IPPROTO_RAW");
    length = sizeof(filter6);
    check(!getsockopt(icmp6, IPPROTO_ICMPV6, ICMP6_FILTER, &filter6_after, &length) &&
              !memcmp(&filter6, &filter6_after, length),
          "ICMPv6 filter");
    check(int_option(sum, SOL_RAW, 7) == 4, "IPV6_CHECKSUM");
    struct {
        struct icmphdr header;
        char data[8];
    } echo = {.header = {.type = ICMP_ECHO, .checksum = htons(0xf7ff)}};
    check(send(icmp, &echo, sizeof(echo), 0) == sizeof(echo), "send: not connected");
    char packet[256];
    check(recv(icmp, packet, sizeof(packet), 0) >= 28 && packet[20] == ICMP_ECHOREPLY, "echo");
    return pass();
}
