/* Megabytes that flow through a TCP connection while it is checkpointed, with a full send queue. */
#include "sockets.h"

#define TOTAL (8 * MIB)
static int ends[2];

static int sender(void *unused) {
    (void)unused;
    child_ready();
    static uint8_t block[10007];
    for (size_t done = 0; done < TOTAL;) {
        size_t wanted = TOTAL - done < sizeof(block) ? TOTAL - done : sizeof(block);
        for (size_t i = 0; i < wanted; i++)
            block[i] = (done + i) * 13 / 7;
        for (size_t part = 0; part < wanted;) {
            ssize_t n = send(ends[0], block + part, wanted - part, MSG_NOSIGNAL);
            check(n > 0, "send");
            part += n;
        }
        done += wanted;
    }
    check(shutdown(ends[0], SHUT_WR) == 0, "shutdown");
    test_waitsig();
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    close(tcp_pair(AF_INET, ends));
    pid_t child = spawn(sender, NULL);
    close(ends[0]);
    wait_until_asleep(child);
    test_daemon();
    test_waitsig();
    static uint8_t block[65536];
    size_t done = 0;
    ssize_t n;
    while ((n = recv(ends[1], block, sizeof(block), 0)) > 0) {
        for (ssize_t i = 0; i < n; i++)
            check(block[i] == (uint8_t)((done + i) * 13 / 7), "byte %zu differs", done + i);
        done += n;
    }
    check(n == 0 && done == TOTAL, "%zu bytes instead of %zu", done, (size_t)TOTAL);
    finish_child(child);
    return pass();
}
