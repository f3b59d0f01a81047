/* Empty datagrams in a queue, at its head and between others. (A dump can see them only once: see noleave.) */
#include "sockets.h"

int main(int argc, char **argv) {
    test_init(argc, argv);
    struct sockaddr_in6 address;
    socklen_t length;
    int receiver = loopback_bound(AF_INET, SOCK_DGRAM, &address, &length), sender = must(socket(AF_INET, SOCK_DGRAM, 0));
    must(connect(sender, (struct sockaddr *)&address, length));
    static const char *const kTexts[] = {"", "", "one", "", "two", ""};
    for (size_t i = 0; i < ARRAY_SIZE(kTexts); i++)
        must(send(sender, kTexts[i], strlen(kTexts[i]), 0));
    test_daemon();
    test_waitsig();
    for (size_t i = 0; i < ARRAY_SIZE(kTexts); i++) {
        char text[8] = {0};
        check(recv(receiver, text, sizeof(text), MSG_DONTWAIT) == (ssize_t)strlen(kTexts[i]) && !strcmp(text, kTexts[i]),
              "datagram %zu is '%s'", i, text);
    }
    check(nothing_to_receive(receiver), "more datagrams");
    return pass();
}
