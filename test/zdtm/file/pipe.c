/* A pipe with data in it, both ends in one process: order, capacity, flags, and end of file after the last writer. */
#include "zdtm.h"

#define SIZE 50000

int main(int argc, char **argv) {
    test_init(argc, argv);
    static uint8_t data[SIZE], buffer[SIZE + 1];
    int ends[2], empty[2], large[2];
    must(pipe(ends));
    must(pipe2(empty, O_NONBLOCK | O_CLOEXEC));
    must(pipe(large));
    int capacity = must(fcntl(large[0], F_SETPIPE_SZ, 1 << 20));
    uint32_t crc = ~0u;
    datagen(data, SIZE, &crc);
    check(write(ends[1], data, SIZE) == SIZE, "write");
    for (int i = 0; i < 10; i++)
        check(write(large[1], data, SIZE) == SIZE, "write");
    must(fcntl(ends[0], F_SETFL, O_NONBLOCK));

    test_daemon();
    test_waitsig();

    check(fcntl(ends[0], F_GETFL) == (O_RDONLY | O_NONBLOCK), "flags of the reading end");
    check(fcntl(ends[1], F_GETFL) == O_WRONLY, "flags of the writing end");
    check(fcntl(empty[0], F_GETFD) == FD_CLOEXEC, "close-on-exec");
    check(fcntl(large[0], F_GETPIPE_SZ) == capacity, "capacity %d", fcntl(large[0], F_GETPIPE_SZ));
    check(read(ends[0], buffer, sizeof(buffer)) == SIZE && !memcmp(buffer, data, SIZE), "contents differ");
    check(read(ends[0], buffer, 1) == -1 && errno == EAGAIN, "more than was written");
    check(read(empty[0], buffer, 1) == -1 && errno == EAGAIN, "the empty pipe is not empty");
    check(write(empty[1], "ab", 2) == 2 && read(empty[0], buffer, 2) == 2, "ends are not connected");
    for (int i = 0; i < 10; i++) {
        size_t got = 0;
        while (got < SIZE) {
            ssize_t n = read(large[0], buffer, SIZE - got);
            check(n > 0 && !memcmp(buffer, data + got, n), "contents of the large pipe differ");
            got += n;
        }
    }
    close(ends[1]);
    check(read(ends[0], buffer, 1) == 0, "no end of file");
    return pass();
}
