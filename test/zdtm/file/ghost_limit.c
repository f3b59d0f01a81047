/* A deleted file between the default limit and the one given with --ghost-limit. */
#include "zdtm.h"

#define SIZE (3 * MIB)

int main(int argc, char **argv) {
    test_init(argc, argv);
    int fd = must(open(test_filename, O_CREAT | O_RDWR, 0600));
    uint8_t *data = map_private(SIZE), *buffer = map_private(SIZE);
    datagen(data, SIZE, NULL);
    must(write(fd, data, SIZE));
    must(unlink(test_filename));
    test_daemon();
    test_waitsig();
    check(pread(fd, buffer, SIZE, 0) == (ssize_t)SIZE && !memcmp(data, buffer, SIZE), "contents differ");
    return pass();
}
