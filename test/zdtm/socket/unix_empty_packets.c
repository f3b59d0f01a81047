/* Packets without data in unix sockets, at the beginning, in the middle and at the end of the queue. A dump that has
 * looked at one hides it from the next dump, so it is not repeated here. */
#include "sockets.h"

int main(int argc, char **argv) {
    test_init(argc, argv);
    const int types[] = {SOCK_DGRAM, SOCK_SEQPACKET};
    const char *packets[] = {"", "one", "", "", "three", ""};
    int pairs[2][2];
    for (int i = 0; i < 2; i++) {
        must(socketpair(AF_UNIX, types[i], 0, pairs[i]));
        for (size_t j = 0; j < ARRAY_SIZE(packets); j++)
            must(send(pairs[i][0], packets[j], strlen(packets[j]), 0));
    }
    test_daemon();
    test_waitsig();
    for (int i = 0; i < 2; i++) {
        for (size_t j = 0; j < ARRAY_SIZE(packets); j++) {
            char text[16];
            ssize_t n = recv(pairs[i][1], text, sizeof(text), MSG_DONTWAIT);
            check(n == (ssize_t)strlen(packets[j]) && !memcmp(text, packets[j], n), "type %d, packet %zu: %zd bytes",
                  types[i], j, n);
        }
        check(nothing_to_receive(pairs[i][1]), "more packets");
    }
    return pass();
}
