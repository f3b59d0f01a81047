/* Packet mode (O_DIRECT) of a pipe: boundaries of the packets in it, and the mode itself; normal data before them. */
#include "zdtm.h"

int main(int argc, char **argv) {
    test_init(argc, argv);
    int ends[2], mixed[2];
    must(pipe2(ends, O_DIRECT));
    must(pipe(mixed));
    static const char *const kPackets[] = {"one", "second packet", "3", "the fourth"};
    for (size_t i = 0; i < ARRAY_SIZE(kPackets); i++)
        must(write(ends[1], kPackets[i], strlen(kPackets[i])));
    must(write(mixed[1], "stream", 6));
    must(fcntl(mixed[1], F_SETFL, O_DIRECT));
    must(write(mixed[1], "packet", 6));
    test_daemon();
    test_waitsig();
    char text[64];
    check(fcntl(ends[1], F_GETFL) & O_DIRECT, "packet mode is lost");
    /* A short read drops the rest of its packet. */
    check(read(ends[0], text, 2) == 2 && !memcmp(text, "on", 2), "first packet");
    for (size_t i = 1; i < ARRAY_SIZE(kPackets); i++) {
        ssize_t length = read(ends[0], text, sizeof(text));
        check(length == (ssize_t)strlen(kPackets[i]) && !memcmp(text, kPackets[i], length), "packet %zu: %zd bytes", i,
              length);
    }
    check(read(mixed[0], text, 3) == 3 && read(mixed[0], text, 3) == 3, "stream data");
    check(read(mixed[0], text, 64) == 6 && !memcmp(text, "packet", 6), "packet behind it");
    must(write(ends[1], "a", 1));
    must(write(ends[1], "b", 1));
    check(read(ends[0], text, 64) == 1, "new packets have no boundaries");
    return pass();
}
