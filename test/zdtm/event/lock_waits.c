/* Threads and processes that wait for file locks: they get them when they become free after restore. */
#include "blocked_calls.h"

#include <sys/file.h>

static int holder, waiter, posix;

static long call_flock(void) {
    return raw(SYS_flock, waiter, LOCK_EX);
}
static void wake_flock(void) {
    must(flock(holder, LOCK_UN));
}

static int body(void *unused) {
    (void)unused;
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 10};
    child_ready();
    check(syscall(SYS_fcntl, posix, F_SETLKW, &lock) == 0, "waiting for the POSIX lock");
    return 0;
}

static struct blocked_call calls[] = {{"flock", call_flock, 0, wake_flock}};

int main(int argc, char **argv) {
    test_init(argc, argv);
    holder = must(open("flock", O_CREAT | O_RDWR, 0600));
    waiter = must(open("flock", O_RDWR));
    posix = must(open("posix", O_CREAT | O_RDWR, 0600));
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 10};
    must(fcntl(posix, F_SETLK, &lock));
    must(flock(holder, LOCK_EX));
    pid_t child = spawn(body, NULL);
    wait_until_asleep(child);
    start_blocked_calls(calls, 1);
    test_daemon();
    test_waitsig();
    finish_blocked_calls(calls, 1);
    check(waitpid(child, NULL, WNOHANG) == 0, "the child has got the lock too early");
    lock.l_type = F_UNLCK;
    must(fcntl(posix, F_SETLK, &lock));
    expect_wait_status(child, 0);
    return pass();
}
