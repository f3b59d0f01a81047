/* O_TMPFILE: a file that never had a name; it can still be given one. */
#include "zdtm.h"

int main(int argc, char **argv) {
    test_init(argc, argv);
    uint8_t data[5000], buffer[5000];
    datagen(data, sizeof(data), NULL);
    int fd = must(open(".", O_TMPFILE | O_RDWR, 0600));
    must(write(fd, data, sizeof(data)));
    test_daemon();
    test_waitsig();
    check(pread(fd, buffer, sizeof(buffer), 0) == sizeof(buffer) && !memcmp(buffer, data, sizeof(data)),
          "contents differ");
    struct stat after;
    check(fstat(fd, &after) == 0 && after.st_nlink == 0, "link count");
    return pass();
}
