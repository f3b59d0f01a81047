/* File locks of all kinds: flock, POSIX ranges, open file description locks; shared with children or not. */
#include "zdtm.h"

#include <sys/file.h>

static bool posix_conflict(int fd, int command, off_t start, off_t length, pid_t *holder) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
    must(fcntl(fd, command, &lock));
    if (holder)
        *holder = lock.l_pid;
    return lock.l_type != F_UNLCK;
}

static int flock_fd;

static int body(void *unused) {
    (void)unused;
    int own = must(open("posix", O_RDWR));
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 1000, .l_len = 10};
    must(fcntl(own, F_SETLK, &lock));
    child_wait();
    pid_t holder = 0;
    check(posix_conflict(own, F_GETLK, 0, 50, &holder) && holder == getppid(), "the parent's lock is lost, holder %d",
          holder);
    /* The description is the parent's: what it locks is locked by us too. */
    check(flock(flock_fd, LOCK_EX | LOCK_NB) == 0, "flock over a shared description");
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    int posix = must(open("posix", O_CREAT | O_RDWR, 0600)), ofd = must(open("ofd", O_CREAT | O_RDWR, 0600));
    flock_fd = must(open("flock", O_CREAT | O_RDWR, 0600));
    int shared_flock = must(open("flock-shared", O_CREAT | O_RDWR, 0600)),
        second_shared = must(open("flock-shared", O_RDONLY));
    struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 100};
    must(fcntl(posix, F_SETLK, &range));
    range = (struct flock){.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 200, .l_len = 0};
    must(fcntl(posix, F_SETLK, &range));
    range = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 5, .l_len = 5};
    must(fcntl(ofd, F_OFD_SETLK, &range));
    must(flock(flock_fd, LOCK_EX));
    must(flock(shared_flock, LOCK_SH));
    must(flock(second_shared, LOCK_SH));
    pid_t child = spawn(body, NULL);

    test_daemon();
    test_waitsig();

    int other = must(open("flock", O_RDWR)), other_ofd = must(open("ofd", O_RDWR)),
        other_shared = must(open("flock-shared", O_RDWR));
    check(flock(other, LOCK_SH | LOCK_NB) == -1 && errno == EWOULDBLOCK, "exclusive flock is lost");
    check(flock(other_shared, LOCK_EX | LOCK_NB) == -1 && errno == EWOULDBLOCK, "shared flock is lost");
    check(flock(shared_flock, LOCK_UN) == 0 && flock(other_shared, LOCK_EX | LOCK_NB) == -1,
          "one of two shared flocks is lost");
    check(flock(second_shared, LOCK_UN) == 0 && flock(other_shared, LOCK_EX | LOCK_NB) == 0, "unlocking has no effect");
    check(posix_conflict(other_ofd, F_OFD_GETLK, 5, 5, NULL) && !posix_conflict(other_ofd, F_OFD_GETLK, 10, 5, NULL),
          "OFD lock");
    pid_t holder = 0;
    check(posix_conflict(posix, F_GETLK, 1005, 1, &holder) && holder == child, "the child's lock is lost, holder %d",
          holder);
    finish_child(child);
    pid_t prober = fork();
    if (prober == 0) {
        check(posix_conflict(posix, F_GETLK, 10, 1, &holder) && holder == getppid(), "first POSIX lock");
        check(!posix_conflict(posix, F_GETLK, 110, 90, NULL), "it has become larger");
        check(posix_conflict(posix, F_GETLK, 1L << 40, 1, NULL), "POSIX lock to the end");
        struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 300, .l_len = 1};
        check(fcntl(posix, F_SETLK, &lock) == 0, "read lock has become a write lock");
        _exit(0);
    }
    expect_wait_status(prober, 0);
    return pass();
}
