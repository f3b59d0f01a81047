/* Tun and tap devices with their queues: devices that vanish with their last descriptor (owner, sizes, offloads,
 * addresses, routes), a persistent one, a detached queue, a descriptor without a device, a socket bound to an address
 * of a device, packets in both directions. */
#include "sockets.h"

#include <linux/ethtool.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/route.h>
#include <sys/ioctl.h>

static int helper;

static struct ifreq ask(const char *name, unsigned long command) {
    struct ifreq request = {0};
    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
    must(ioctl(helper, command, &request));
    return request;
}

static int device(const char *name, int flags) {
    struct ifreq request = {.ifr_flags = flags};
    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
    int fd = must(open("/dev/net/tun", O_RDWR | O_NONBLOCK));
    must(ioctl(fd, TUNSETIFF, &request));
    return fd;
}

static struct sockaddr ip(const char *text) {
    union {
        struct sockaddr any;
        struct sockaddr_in in;
    } address = {.in.sin_family = AF_INET};
    inet_pton(AF_INET, text, &address.in.sin_addr);
    return address.any;
}

static void address(const char *name, const char *own, const char *mask) {
    struct ifreq request = {.ifr_addr = ip(own)};
    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
    must(ioctl(helper, SIOCSIFADDR, &request));
    request.ifr_addr = ip(mask);
    must(ioctl(helper, SIOCSIFNETMASK, &request));
}

static void up(const char *name) {
    struct ifreq request = ask(name, SIOCGIFFLAGS);
    request.ifr_flags |= IFF_UP;
    must(ioctl(helper, SIOCSIFFLAGS, &request));
}

static void address6(const char *name, const char *text) {
    struct {
        struct in6_addr address;
        uint32_t prefix;
        int index;
    } request = {.prefix = 64, .index = ask(name, SIOCGIFINDEX).ifr_ifindex};
    inet_pton(AF_INET6, text, &request.address);
    int fd = must(socket(AF_INET6, SOCK_DGRAM, 0));
    must(ioctl(fd, SIOCSIFADDR, &request));
    close(fd);
}

static void route(const char *to, const char *mask, const char *gateway) {
    struct rtentry entry = {
        .rt_dst = ip(to), .rt_genmask = ip(mask), .rt_gateway = ip(gateway), .rt_flags = RTF_UP | RTF_GATEWAY};
    must(ioctl(helper, SIOCADDRT, &entry));
}

static bool file_has(const char *path, const char *text) {
    static char all[16384];
    int fd = must(open(path, O_RDONLY));
    ssize_t length = 0, n;
    while ((n = read(fd, all + length, sizeof(all) - 1 - length)) > 0)
        length += n;
    all[length] = 0;
    close(fd);
    return strstr(all, text) != NULL;
}

/* What of TSO is active: TUNSETOFFLOAD shows there. */
static uint32_t tso(const char *name) {
    struct ethtool_value value = {.cmd = ETHTOOL_GTSO};
    struct ifreq request = {0};
    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
    request.ifr_data = (char *)&value;
    must(ioctl(helper, SIOCETHTOOL, &request));
    return value.data;
}

static int value_of(int fd, unsigned long command) {
    int value = -1;
    must(ioctl(fd, command, &value));
    return value;
}

static int link_flags(int fd) {
    struct ifreq request = {0};
    return ioctl(fd, TUNGETIFF, &request) ? -errno : (unsigned short)request.ifr_flags;
}

/* Reads packets until an IPv4 UDP packet with this payload; by pread(), as a position is no state of the device. */
static bool comes_out(int tun, const char *text) {
    char packet[2048];
    for (ssize_t n; (n = pread(tun, packet, sizeof(packet), 0)) > 0;)
        if (packet[0] == 0x45 && n == 28 + (ssize_t)strlen(text) && !memcmp(packet + 28, text, strlen(text)))
            return true;
    return false;
}

/* A UDP packet from the other side. */
static void goes_in(int tun, const char *from, const char *to, uint16_t port, const char *text) {
    uint8_t packet[64] = {0x45, 0, 0, 28 + strlen(text), 0, 0, 0, 0, 64, 17};
    inet_pton(AF_INET, from, packet + 12);
    inet_pton(AF_INET, to, packet + 16);
    uint32_t sum = 0;
    for (int i = 0; i < 20; i += 2)
        sum += packet[i] << 8 | packet[i + 1];
    sum = ~((sum & 0xffff) + (sum >> 16));
    packet[10] = sum >> 8, packet[11] = sum;
    packet[20] = 7, packet[21] = 7;
    packet[22] = port >> 8, packet[23] = port;
    packet[25] = 8 + strlen(text);
    memcpy(packet + 28, text, strlen(text));
    must(write(tun, packet, 28 + strlen(text)));
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    helper = must(socket(AF_INET, SOCK_DGRAM, 0));
    int bound = must(socket(AF_INET, SOCK_DGRAM, 0)); /* before its device */
    int tap = device("zdtm0", IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE | IFF_VNET_HDR),
        second = device("zdtm0", IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE | IFF_VNET_HDR),
        tun = device("zdtm1", IFF_TUN | IFF_NO_PI), lasting = device("zdtm2", IFF_TUN),
        none = must(open("/dev/net/tun", O_RDWR | O_NONBLOCK));
    must(ioctl(tap, TUNSETOWNER, 1234));
    must(ioctl(tap, TUNSETGROUP, 56));
    must(ioctl(tap, TUNSETVNETHDRSZ, &(int){12}));
    must(ioctl(tap, TUNSETSNDBUF, &(int){70000}));
    must(ioctl(tap, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4));
    struct ifreq request = ask("zdtm0", SIOCGIFHWADDR);
    memcpy(request.ifr_hwaddr.sa_data, "\x02zdtm\x07", 6);
    must(ioctl(helper, SIOCSIFHWADDR, &request));
    request.ifr_mtu = 1400;
    must(ioctl(helper, SIOCSIFMTU, &request));
    address("zdtm0", "10.99.0.1", "255.255.255.0");
    up("zdtm0");
    address6("zdtm0", "fd99::1");
    route("10.98.0.0", "255.255.0.0", "10.99.0.7");
    must(ioctl(second, TUNSETQUEUE, &(struct ifreq){.ifr_flags = IFF_DETACH_QUEUE}));
    address("zdtm1", "10.97.0.1", "255.255.255.0");
    up("zdtm1");
    struct sockaddr own = ip("10.97.0.1"), peer = ip("10.97.0.2");
    ((struct sockaddr_in *)&own)->sin_port = htons(4711), ((struct sockaddr_in *)&peer)->sin_port = htons(7);
    must(bind(bound, &own, sizeof(own)));
    must(ioctl(lasting, TUNSETPERSIST, 1));
    must(sendto(bound, "before", 6, 0, &peer, sizeof(peer)));
    check(comes_out(tun, "before"), "set-up: a packet");
    int indexes[] = {ask("zdtm0", SIOCGIFINDEX).ifr_ifindex, ask("zdtm1", SIOCGIFINDEX).ifr_ifindex},
        flags[] = {link_flags(tap), link_flags(second), link_flags(tun), link_flags(lasting)};
    uint32_t offload = tso("zdtm0");
    test_daemon();
    test_waitsig();
    check(link_flags(tap) == flags[0] && link_flags(second) == flags[1] && link_flags(tun) == flags[2] &&
              link_flags(lasting) == flags[3],
          "flags of the queues: %#x %#x %#x %#x", link_flags(tap), link_flags(second), link_flags(tun),
          link_flags(lasting));
    check(link_flags(none) == -EBADFD && fcntl(none, F_GETFL) & O_NONBLOCK, "the descriptor without a device");
    check(ask("zdtm0", SIOCGIFINDEX).ifr_ifindex == indexes[0] && ask("zdtm1", SIOCGIFINDEX).ifr_ifindex == indexes[1],
          "indexes");
    check(!memcmp(ask("zdtm0", SIOCGIFHWADDR).ifr_hwaddr.sa_data, "\x02zdtm\x07", 6), "address of the device");
    check(ask("zdtm0", SIOCGIFMTU).ifr_mtu == 1400 && (ask("zdtm0", SIOCGIFFLAGS).ifr_flags & IFF_UP), "MTU, up");
    check(!(ask("zdtm2", SIOCGIFFLAGS).ifr_flags & IFF_UP), "a device that was down");
    check(value_of(tap, TUNGETVNETHDRSZ) == 12 && value_of(tap, TUNGETSNDBUF) == 70000, "sizes");
    check(tso("zdtm0") == offload && offload, "offloads");
    check(file_has("/proc/self/net/route", "0000620A\t0700630A"), "route");
    check(file_has("/proc/self/net/if_inet6", "fd990000000000000000000000000001"), "IPv6 address");
    must(sendto(bound, "after", 5, 0, &peer, sizeof(peer)));
    check(comes_out(tun, "after"), "packets do not come out");
    goes_in(tun, "10.97.0.2", "10.97.0.1", 4711, "hello");
    check(receives(bound, "hello"), "packets do not go in");
    must(ioctl(second, TUNSETQUEUE, &(struct ifreq){.ifr_flags = IFF_ATTACH_QUEUE}));
    close(tun);
    check(if_nametoindex("zdtm1") == 0, "the device has become persistent");
    close(lasting);
    check(if_nametoindex("zdtm2") != 0, "the device is not persistent any more");
    lasting = device("zdtm2", IFF_TUN);
    must(ioctl(lasting, TUNSETPERSIST, 0));
    return pass();
}
