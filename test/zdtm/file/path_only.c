/* O_PATH descriptors of files, symbolic links, fifos, sockets and devices. */
#include "zdtm.h"

int main(int argc, char **argv) {
    test_init(argc, argv);
    must(mkdir(test_dirname, 0755));
    int dir = must(open(test_dirname, O_RDONLY | O_DIRECTORY));
    must(symlinkat("/nowhere/at all", dir, "link"));
    must(mkfifoat(dir, "fifo", 0600));
    must(mknodat(dir, "socket", S_IFSOCK | 0600, 0));
    close(must(openat(dir, "file", O_CREAT | O_RDWR, 0)));
    int link = must(openat(dir, "link", O_PATH | O_NOFOLLOW));
    int fifo = must(openat(dir, "fifo", O_PATH));
    int file = must(openat(dir, "file", O_PATH | O_CLOEXEC));
    int device = must(open("/dev/null", O_PATH));
    int socket = must(openat(dir, "socket", O_PATH));
    int fds[] = {link, fifo, file, device, socket};
    enum { kCount = sizeof(fds) / sizeof(fds[0]) };
    struct stat before[kCount], after[kCount];
    for (int i = 0; i < kCount; i++)
        must(fstat(fds[i], &before[i]));
    test_daemon();
    test_waitsig();
    for (int i = 0; i < kCount; i++) {
        check(fcntl(fds[i], F_GETFL) & O_PATH, "%d: O_PATH is lost", i);
        check(!fstat(fds[i], &after[i]) && before[i].st_ino == after[i].st_ino && before[i].st_mode == after[i].st_mode,
              "%d: other file", i);
    }
    char target[64] = {0};
    check(readlinkat(link, "", target, sizeof(target)) > 0 && !strcmp(target, "/nowhere/at all"), "link says %s",
          target);
    check(fcntl(link, F_GETFL) & O_NOFOLLOW, "flags of the link");
    check(fcntl(file, F_GETFD) == FD_CLOEXEC, "close-on-exec");
    return pass();
}
