/* signalfd: masks, flags, and signals that are pending for it. */
#include "zdtm.h"

#include <sys/signalfd.h>

int main(int argc, char **argv) {
    test_init(argc, argv);
    sigset_t set, other;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, 40);
    sigemptyset(&other);
    sigaddset(&other, SIGUSR2);
    must(sigprocmask(SIG_BLOCK, &set, NULL));
    must(sigprocmask(SIG_BLOCK, &other, NULL));
    int fd = must(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC)), fd2 = must(signalfd(-1, &other, SFD_NONBLOCK));
    must(sigqueue(getpid(), 40, (union sigval){.sival_int = 4711}));
    test_daemon();
    test_waitsig();
    struct signalfd_siginfo info;
    check(fcntl(fd, F_GETFD) == FD_CLOEXEC && fcntl(fd, F_GETFL) & O_NONBLOCK, "flags");
    check(read(fd, &info, sizeof(info)) == sizeof(info) && info.ssi_signo == 40 && info.ssi_int == 4711,
          "pending signal");
    check(read(fd, &info, sizeof(info)) == -1 && errno == EAGAIN, "more signals");
    must(kill(getpid(), SIGUSR2));
    check(read(fd, &info, sizeof(info)) == -1 && errno == EAGAIN, "mask is larger");
    check(read(fd2, &info, sizeof(info)) == sizeof(info) && info.ssi_signo == SIGUSR2, "second descriptor");
    must(kill(getpid(), SIGUSR1));
    check(read(fd, &info, sizeof(info)) == sizeof(info) && info.ssi_signo == SIGUSR1, "first descriptor");
    return pass();
}
