/* Queued datagrams: many, and large ones, of several senders, on sockets that share a port, bound to all
 * addresses and connected; each comes back on its own socket with its sender and in order. */
#include "sockets.h"

#include <sys/time.h>

#define COUNT 40

static int body(void *argument) {
    int family = (int)(long)argument, on = 1, shared[2], senders[3];
    struct sockaddr_in6 any = {.sin6_family = family}, address, names[3];
    socklen_t length, size;
    for (int i = 0; i < 2; i++) { /* the kernel spreads the senders over the two */
        shared[i] = must(socket(family, SOCK_DGRAM, 0));
        must(setsockopt(shared[i], SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)));
        length = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(any);
        must(bind(shared[i], (struct sockaddr *)(i ? &address : &any), length));
        address = any;
        length = sizeof(address);
        must(getsockname(shared[0], (struct sockaddr *)&address, &length));
    }
    struct sockaddr_in6 target = address;
    if (family == AF_INET)
        ((struct sockaddr_in *)&target)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else
        target.sin6_addr = in6addr_loopback;
    for (int i = 0; i < 3; i++)
        senders[i] = loopback_bound(family, SOCK_DGRAM, &names[i], &length);
    static char big[60000];
    memset(big, 'b', sizeof(big));
    for (int i = 0; i < COUNT; i++) {
        char text[32];
        int n = snprintf(text, sizeof(text), "datagram %d", i);
        must(sendto(senders[i % 3], i == 7 ? big : text, i == 7 ? (int)sizeof(big) : n, 0,
                    (struct sockaddr *)&target, length));
    }
    int connected = loopback_bound(family, SOCK_DGRAM, &any, &length);
    must(connect(connected, (struct sockaddr *)&names[0], length));
    must(sendto(senders[0], "for you", 7, 0, (struct sockaddr *)&any, length));
    struct timeval limit = {5, 0};
    for (int i = 0; i < 2; i++)
        must(setsockopt(shared[i], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)));

    /* what each socket has, by peeking at its first */
    struct sockaddr_in6 first[2], from;
    for (int i = 0; i < 2; i++) {
        size = sizeof(from);
        memset(&first[i], 0, sizeof(first[i]));
        recvfrom(shared[i], big, 1, MSG_PEEK | MSG_DONTWAIT, (struct sockaddr *)&first[i], &size);
    }
    child_wait();

    int seen[COUNT] = {0}, total = 0;
    for (int i = 0; i < 2; i++) {
        int last[3] = {-1, -1, -1};
        for (int k = 0;; k++) {
            size = sizeof(from);
            ssize_t n = recvfrom(shared[i], big, sizeof(big), MSG_DONTWAIT, (struct sockaddr *)&from, &size);
            if (n < 0)
                break;
            if (k == 0)
                check(from.sin6_port == first[i].sin6_port, "first sender of socket %d", i);
            int number = n == sizeof(big) ? 7 : atoi(big + 9), sender = number % 3;
            check(number >= 0 && number < COUNT && !seen[number], "datagram %d twice", number);
            check(from.sin6_port == names[sender].sin6_port, "sender of %d", number);
            check(number > last[sender], "order of %d", number);
            last[sender] = number;
            seen[number] = 1;
            total++;
            memset(big, 0, 64);
        }
    }
    check(total == COUNT, "%d datagrams instead of %d", total, COUNT);
    check(receives(connected, "for you") && nothing_to_receive(connected), "connected socket");
    must(sendto(senders[1], "x", 1, 0, (struct sockaddr *)&any, length));
    check(nothing_to_receive(connected), "it hears strangers");
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    pid_t children[] = {spawn(body, (void *)AF_INET), spawn(body, (void *)AF_INET6)};
    test_daemon();
    test_waitsig();
    finish_child(children[0]);
    finish_child(children[1]);
    return pass();
}
