/* Sockets that are bound to an address of no interface. The option that allowed it counts at the time of bind(2) only:
 * some have it still, others have switched it off since. */
#include "sockets.h"

static void set(int fd, int level, int option, int value) {
    must(setsockopt(fd, level, option, &value, sizeof(value)));
}

struct place {
    int family, type, level, option;
    bool keep; /* the option */
    int fd;
    struct sockaddr_in6 address;
};

static socklen_t length_of(const struct place *place) {
    return place->family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
}

static void take(struct place *place) {
    place->address.sin6_family = place->family;
    if (place->family == AF_INET)
        must(inet_pton(AF_INET, "192.0.2.7", &((struct sockaddr_in *)&place->address)->sin_addr));
    else
        must(inet_pton(AF_INET6, "2001:db8::7", &place->address.sin6_addr));
    socklen_t length = length_of(place);
    place->fd = must(socket(place->family, place->type, 0));
    set(place->fd, place->level, place->option, 1);
    must(bind(place->fd, (struct sockaddr *)&place->address, length));
    must(getsockname(place->fd, (struct sockaddr *)&place->address, &length));
    if (place->type == SOCK_STREAM)
        must(listen(place->fd, 3));
    if (!place->keep)
        set(place->fd, place->level, place->option, 0);
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    struct place places[] = {
        {AF_INET, SOCK_STREAM, IPPROTO_IP, IP_FREEBIND, false},
        {AF_INET, SOCK_STREAM, IPPROTO_IP, IP_FREEBIND, true},
        {AF_INET, SOCK_DGRAM, IPPROTO_IP, IP_FREEBIND, false},
        {AF_INET, SOCK_STREAM, IPPROTO_IP, IP_TRANSPARENT, false},
        {AF_INET, SOCK_DGRAM, IPPROTO_IP, IP_TRANSPARENT, true},
        {AF_INET6, SOCK_STREAM, IPPROTO_IPV6, IPV6_FREEBIND, false},
        {AF_INET6, SOCK_DGRAM, IPPROTO_IPV6, IPV6_FREEBIND, true},
        {AF_INET6, SOCK_DGRAM, IPPROTO_IPV6, IPV6_TRANSPARENT, false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(places); i++)
        take(&places[i]);
    test_daemon();
    test_waitsig();
    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        struct place *place = &places[i];
        struct sockaddr_in6 address = {0};
        socklen_t length = sizeof(address);
        must(getsockname(place->fd, (struct sockaddr *)&address, &length));
        check(length == length_of(place) && !memcmp(&address, &place->address, length), "address of %zu", i);
        check(int_option(place->fd, place->level, place->option) == place->keep, "option of %zu", i);
        if (place->type == SOCK_STREAM)
            check(int_option(place->fd, SOL_SOCKET, SO_ACCEPTCONN) == 1, "%zu listens", i);
    }
    return pass();
}
