/* Removed files that were opened with O_NOFOLLOW, which shm_open(3) sets: such a file cannot be opened through a link. */
#include "zdtm.h"

static const char kText[] = "still here";

static void write_and_note(int fd, int *flags) {
    must(write(fd, kText, sizeof(kText)));
    *flags = must(fcntl(fd, F_GETFL));
}

static void examine(int fd, int flags, const char *what) {
    char text[sizeof(kText)];
    struct stat st;
    check(pread(fd, text, sizeof(text), 0) == sizeof(text) && !memcmp(text, kText, sizeof(text)), "%s: contents", what);
    check(fcntl(fd, F_GETFL) == flags, "%s: flags %#x instead of %#x", what, fcntl(fd, F_GETFL), flags);
    check(fstat(fd, &st) == 0 && st.st_nlink == 0, "%s: it has a name", what);
    check(lseek(fd, 0, SEEK_CUR) == sizeof(kText), "%s: position", what);
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    char name[64];
    int flags[3];
    snprintf(name, sizeof(name), "/zdtm-nofollow-%ld", (long)now_ns(CLOCK_REALTIME));
    int shm = must(shm_open(name, O_CREAT | O_RDWR, 0600));
    int again = must(shm_open(name, O_RDWR, 0600));
    must(shm_unlink(name));
    int file = must(open(test_filename, O_CREAT | O_RDWR | O_NOFOLLOW | O_APPEND, 0600));
    must(unlink(test_filename));
    write_and_note(shm, &flags[0]);
    write_and_note(again, &flags[1]);
    write_and_note(file, &flags[2]);
    test_daemon();
    test_waitsig();
    examine(shm, flags[0], "shared memory");
    examine(again, flags[1], "shared memory, opened twice");
    examine(file, flags[2], "file");
    return pass();
}
