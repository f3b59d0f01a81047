/* Regular files: offsets, status flags, append mode, close-on-exec. */
#include "zdtm.h"

static const int kFlags[] = {
    O_RDONLY,
    O_WRONLY,
    O_RDWR,
    O_RDWR | O_APPEND,
    O_RDWR | O_NONBLOCK,
    O_RDWR | O_SYNC,
    O_RDWR | O_DSYNC,
    O_RDONLY | O_NOATIME,
    O_RDWR | O_CLOEXEC,
    O_RDONLY | O_CLOEXEC | O_NONBLOCK,
    O_RDWR | O_ASYNC,
    O_RDONLY | O_DIRECT,
};
#define COUNT ARRAY_SIZE(kFlags)
#define SIZE 40960

int main(int argc, char **argv) {
    test_init(argc, argv);
    static uint8_t data[SIZE], buffer[SIZE];
    uint32_t crc = ~0u;
    datagen(data, SIZE, &crc);
    write_file(test_filename, data, SIZE);

    int fds[COUNT], status[COUNT], cloexec[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        fds[i] = must(open(test_filename, kFlags[i]));
        must(lseek(fds[i], 512 * (i + 1), SEEK_SET));
        status[i] = fcntl(fds[i], F_GETFL);
        cloexec[i] = fcntl(fds[i], F_GETFD);
    }
    int beyond = must(open(test_filename, O_RDWR));
    must(lseek(beyond, 10 * SIZE, SEEK_SET));

    test_daemon();
    test_waitsig();

    for (size_t i = 0; i < COUNT; i++) {
        off_t offset = 512 * (i + 1);
        check(lseek(fds[i], 0, SEEK_CUR) == offset, "fd %zu: offset %ld", i, (long)lseek(fds[i], 0, SEEK_CUR));
        check(fcntl(fds[i], F_GETFL) == status[i], "fd %zu: flags %#o instead of %#o", i, fcntl(fds[i], F_GETFL),
              status[i]);
        check(fcntl(fds[i], F_GETFD) == cloexec[i], "fd %zu: close-on-exec", i);
        if (kFlags[i] & O_DIRECT)
            continue;
        if ((kFlags[i] & O_ACCMODE) == O_WRONLY) {
            check(read(fds[i], buffer, 1) == -1 && errno == EBADF, "fd %zu can be read", i);
            continue;
        }
        check(read(fds[i], buffer, 100) == 100 && !memcmp(buffer, data + offset, 100), "fd %zu: data", i);
        if ((kFlags[i] & O_ACCMODE) == O_RDONLY)
            check(write(fds[i], buffer, 1) == -1 && errno == EBADF, "fd %zu can be written", i);
    }
    check(lseek(beyond, 0, SEEK_CUR) == 10 * SIZE, "offset beyond the end");
    check(write(fds[3], "x", 1) == 1 && lseek(fds[3], 0, SEEK_CUR) == SIZE + 1, "append does not append");
    return pass();
}
