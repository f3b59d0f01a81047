/* pidfd: of a child, of oneself, of a zombie, of the dead. */
#include "abi.h"
#include "zdtm.h"

#include <poll.h>

static int open_pidfd(pid_t pid, unsigned flags) {
    return must(syscall(SYS_NR_pidfd_open, pid, flags));
}

static bool ended(int fd) {
    struct pollfd poll_fd = {fd, POLLIN, 0};
    return poll(&poll_fd, 1, 0) == 1;
}

static int body(void *unused) {
    (void)unused;
    child_wait();
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    pid_t alive = spawn(body, NULL), dead = spawn(body, NULL), zombie = must(fork());
    if (zombie == 0)
        _exit(5);
    int self_fd = open_pidfd(getpid(), 0), alive_fd = open_pidfd(alive, O_NONBLOCK), dead_fd = open_pidfd(dead, 0),
        zombie_fd = open_pidfd(zombie, 0);
    finish_child(dead);
    while (!ended(zombie_fd))
        sleep_ms(1);
    test_daemon();
    test_waitsig();
    check(!ended(self_fd) && !ended(alive_fd), "living tasks are reported dead");
    check(ended(dead_fd) && ended(zombie_fd), "dead tasks are reported alive");
    check(fdinfo_value(self_fd, "Pid:", 10) == getpid() && fdinfo_value(alive_fd, "Pid:", 10) == alive,
          "pidfds of other tasks");
    check(fdinfo_value(dead_fd, "Pid:", 10) == -1, "the dead task has pid %lld", fdinfo_value(dead_fd, "Pid:", 10));
    check(fcntl(alive_fd, F_GETFL) & O_NONBLOCK, "flags");
    check(syscall(SYS_pidfd_send_signal, dead_fd, 0, NULL, 0) == -1 && errno == ESRCH, "signal to the dead");
    siginfo_t info;
    check(waitid(P_PIDFD, zombie_fd, &info, WEXITED) == 0 && info.si_status == 5, "zombie");
    check(syscall(SYS_pidfd_send_signal, alive_fd, SIGTERM, NULL, 0) == 0, "signal to the child");
    expect_wait_status(alive, 0);
    check(ended(alive_fd), "the child has ended and is not reported");
    return pass();
}
