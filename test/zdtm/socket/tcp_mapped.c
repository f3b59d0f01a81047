/* An IPv4 connection on IPv6 sockets (v4-mapped addresses), and a listener for both. */
#include "sockets.h"

int main(int argc, char **argv) {
    test_init(argc, argv);
    struct sockaddr_in6 address = {.sin6_family = AF_INET6}, name, after;
    struct sockaddr_in target = {.sin_family = AF_INET};
    int off = 0, listener = must(socket(AF_INET6, SOCK_STREAM, 0));
    must(setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)));
    must(bind(listener, (struct sockaddr *)&address, sizeof(address)));
    must(listen(listener, 5));
    socklen_t length = sizeof(address);
    must(getsockname(listener, (struct sockaddr *)&address, &length));
    target.sin_port = address.sin6_port;
    target.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int client = must(socket(AF_INET, SOCK_STREAM, 0));
    must(connect(client, (struct sockaddr *)&target, sizeof(target)));
    int server = must(accept(listener, NULL, NULL));
    must(getpeername(server, (struct sockaddr *)&name, &length));
    sends(client, "early");
    test_daemon();
    test_waitsig();
    check(!getpeername(server, (struct sockaddr *)&after, &length) && !memcmp(&name, &after, length), "peer's name");
    check(receives(server, "early") && sends(server, "answer") && receives(client, "answer"), "connection");
    int second = must(socket(AF_INET, SOCK_STREAM, 0));
    check(!connect(second, (struct sockaddr *)&target, sizeof(target)) && accept(listener, NULL, NULL) >= 0,
          "new IPv4 connection");
    return pass();
}
