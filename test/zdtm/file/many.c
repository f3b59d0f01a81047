/* Fifteen hundred descriptors, some with high numbers, some shared. */
#include "zdtm.h"

#define FILES 1500

int main(int argc, char **argv) {
    test_init(argc, argv);
    must(mkdir(test_dirname, 0755));
    static int fds[FILES];
    for (int i = 0; i < FILES; i++) {
        char path[4200], text[32];
        snprintf(path, sizeof(path), "%s/%d", test_dirname, i % 700);
        int length = snprintf(text, sizeof(text), "file %d", i % 700);
        fds[i] = must(open(path, O_CREAT | O_RDWR, 0600));
        must(write(fds[i], text, length));
        must(lseek(fds[i], i % 5, SEEK_SET));
        if (i % 100 == 99) {
            int high = must(fcntl(fds[i], F_DUPFD, 2000 + i));
            must(close(fds[i]));
            fds[i] = high;
        }
    }
    int highest = must(dup2(fds[0], 4000));
    int count = open_fd_count();
    test_daemon();
    test_waitsig();
    check(open_fd_count() == count, "%d descriptors instead of %d", open_fd_count(), count);
    for (int i = 0; i < FILES; i++) {
        char text[32], wanted[32];
        snprintf(wanted, sizeof(wanted), "file %d", i % 700);
        check(lseek(fds[i], 0, SEEK_CUR) == i % 5, "offset of file %d", i);
        ssize_t length = pread(fds[i], text, sizeof(text) - 1, 0);
        check(length == (ssize_t)strlen(wanted) && !memcmp(text, wanted, length), "contents of file %d", i);
    }
    check(same_description(getpid(), highest, getpid(), fds[0]), "dup at 4000");
    return pass();
}
