/* A lock without --file-locks: refused by name. */
#include "zdtm.h"

#include <sys/file.h>

int main(int argc, char **argv) {
    test_init(argc, argv);
    int fd = must(open(test_filename, O_CREAT | O_RDWR, 0600));
    must(flock(fd, LOCK_EX));
    test_daemon();
    test_waitsig();
    int other = must(open(test_filename, O_RDWR));
    check(flock(other, LOCK_SH | LOCK_NB) == -1, "the lock is lost");
    return pass();
}
