/* Ping sockets (datagram sockets of ICMP): their identifier, and an echo after restore. */
#include "sockets.h"

#include <linux/icmp.h>

int main(int argc, char **argv) {
    test_init(argc, argv);
    int range = must(open("/proc/sys/net/ipv4/ping_group_range", O_WRONLY));
    must(write(range, "0 0", 3));
    close(range);
    int fd = must(socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP));
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(4321)}, after;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    must(bind(fd, (struct sockaddr *)&address, sizeof(address)));
    test_daemon();
    test_waitsig();
    socklen_t length = sizeof(after);
    check(!getsockname(fd, (struct sockaddr *)&after, &length) && after.sin_port == htons(4321), "identifier");
    address.sin_port = 0;
    struct icmphdr echo = {.type = ICMP_ECHO, .un.echo.sequence = htons(7)}, answer;
    must(sendto(fd, &echo, sizeof(echo), 0, (struct sockaddr *)&address, sizeof(address)));
    check(recv(fd, &answer, sizeof(answer), 0) == sizeof(answer) && answer.type == ICMP_ECHOREPLY &&
              answer.un.echo.id == htons(4321) && answer.un.echo.sequence == htons(7),
          "echo");
    return pass();
}
