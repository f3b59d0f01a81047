/* O_TMPFILE: a file that never had a name; it can still be given one. */
#include "zdtm.h"

static const char *fd_self(int fd) {
    static char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return path;
}

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
    check((fcntl(fd, F_GETFL) & O_TMPFILE) == O_TMPFILE, "flags are %#x", fcntl(fd, F_GETFL));
    check(linkat(AT_FDCWD, fd_self(fd), AT_FDCWD, "named", AT_SYMLINK_FOLLOW) == 0 && unlink("named") == 0,
          "it cannot be given a name");
    return pass();
}
