/* Multicast: memberships of IPv4 and IPv6 with and without sources, and the options that go with them. */
#include "sockets.h"

static void group_of(struct sockaddr_storage *storage, const char *text) {
    memset(storage, 0, sizeof(*storage));
    storage->ss_family = strchr(text, ':') ? AF_INET6 : AF_INET;
    if (storage->ss_family == AF_INET6)
        inet_pton(AF_INET6, text, &((struct sockaddr_in6 *)storage)->sin6_addr);
    else
        inet_pton(AF_INET, text, &((struct sockaddr_in *)storage)->sin_addr);
}

static void join(int fd, int level, const char *group, const char *source, bool only) {
    struct group_req request = {.gr_interface = 1};
    struct group_source_req with = {.gsr_interface = 1};
    group_of(&request.gr_group, group);
    group_of(&with.gsr_group, group);
    if (!only)
        must(setsockopt(fd, level, MCAST_JOIN_GROUP, &request, sizeof(request)));
    if (source) {
        group_of(&with.gsr_source, source);
        must(setsockopt(fd, level, only ? MCAST_JOIN_SOURCE_GROUP : MCAST_BLOCK_SOURCE, &with, sizeof(with)));
    }
}

static int mode_of(int fd, int level, const char *group, uint32_t *sources) {
    char space[GROUP_FILTER_SIZE(8)] = {0};
    struct group_filter *filter = (void *)space;
    filter->gf_interface = 1;
    filter->gf_numsrc = 8;
    group_of(&filter->gf_group, group);
    socklen_t length = sizeof(space);
    if (getsockopt(fd, level, MCAST_MSFILTER, filter, &length))
        return -1;
    *sources = filter->gf_numsrc;
    return filter->gf_fmode;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    struct sockaddr_in6 address, address6;
    socklen_t length;
    int ttl = 9, off = 0, fd = loopback_bound(AF_INET, SOCK_DGRAM, &address, &length),
        fd6 = loopback_bound(AF_INET6, SOCK_DGRAM, &address6, &length), other = must(socket(AF_INET, SOCK_DGRAM, 0));
    join(fd, IPPROTO_IP, "239.7.7.1", NULL, false);
    join(fd, IPPROTO_IP, "239.7.7.2", "10.0.0.1", false);
    join(fd, IPPROTO_IP, "239.7.7.3", "10.0.0.2", true);
    join(other, IPPROTO_IP, "239.7.7.4", NULL, false);
    join(fd6, IPPROTO_IPV6, "ff12::77", NULL, false);
    join(fd6, IPPROTO_IPV6, "ff12::78", "fd00::1", true);
    must(setsockopt(fd, IPPROTO_IP, IP_MULTICAST_TTL, &ttl, sizeof(ttl)));
    must(setsockopt(fd, IPPROTO_IP, IP_MULTICAST_LOOP, &off, sizeof(off)));
    must(setsockopt(fd, IPPROTO_IP, 49 /* IP_MULTICAST_ALL */, &off, sizeof(off)));
    must(setsockopt(fd6, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &ttl, sizeof(ttl)));
    ttl = 1;
    must(setsockopt(fd6, IPPROTO_IPV6, IPV6_MULTICAST_IF, &ttl, sizeof(ttl)));
    test_daemon();
    test_waitsig();
    uint32_t sources = 99;
    check(mode_of(fd, IPPROTO_IP, "239.7.7.1", &sources) == MCAST_EXCLUDE && sources == 0, "group of all sources");
    check(mode_of(fd, IPPROTO_IP, "239.7.7.2", &sources) == MCAST_EXCLUDE && sources == 1, "group without a source");
    check(mode_of(fd, IPPROTO_IP, "239.7.7.3", &sources) == MCAST_INCLUDE && sources == 1, "group of a source");
    check(mode_of(fd, IPPROTO_IP, "239.7.7.4", &sources) == -1, "group of another socket");
    check(mode_of(other, IPPROTO_IP, "239.7.7.4", &sources) == MCAST_EXCLUDE, "other socket");
    check(mode_of(fd6, IPPROTO_IPV6, "ff12::77", &sources) == MCAST_EXCLUDE && sources == 0, "IPv6 group");
    check(mode_of(fd6, IPPROTO_IPV6, "ff12::78", &sources) == MCAST_INCLUDE && sources == 1, "IPv6 group of a source");
    check(int_option(fd, IPPROTO_IP, IP_MULTICAST_TTL) == 9 && int_option(fd, IPPROTO_IP, IP_MULTICAST_LOOP) == 0 &&
              int_option(fd, IPPROTO_IP, 49) == 0,
          "options");
    check(int_option(fd6, IPPROTO_IPV6, IPV6_MULTICAST_HOPS) == 9 &&
              int_option(fd6, IPPROTO_IPV6, IPV6_MULTICAST_IF) == 1,
          "IPv6 options");
    return pass();
}
