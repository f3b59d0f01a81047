/* A deleted file larger than the limit: refused by name, and the program goes on unharmed. */
#include "zdtm.h"

int main(int argc, char **argv) {
    test_init(argc, argv);
    int fd = must(open(test_filename, O_CREAT | O_RDWR, 0600));
    uint8_t *data = map_private(3 * MIB);
    datagen(data, 3 * MIB, NULL);
    must(write(fd, data, 3 * MIB));
    must(unlink(test_filename));
    test_daemon();
    test_waitsig();
    check(pwrite(fd, "x", 1, 0) == 1, "write");
    return pass();
}
