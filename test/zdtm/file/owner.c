/* Who gets signals for a descriptor: F_SETOWN of a process and a group, F_SETOWN_EX of a thread, F_SETSIG, and that
 * O_ASYNC sends it. */
#include "zdtm.h"

static volatile int seen_fd;

static void on_io(int number, siginfo_t *info, void *context) {
    (void)number;
    (void)context;
    seen_fd = info->si_fd;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    int pipes[4][2];
    for (int i = 0; i < 4; i++)
        must(pipe(pipes[i]));
    struct f_owner_ex thread = {F_OWNER_TID, gettid_()}, found;
    must(fcntl(pipes[0][0], F_SETOWN, getpid()));
    must(fcntl(pipes[1][0], F_SETOWN, -getpgrp()));
    must(fcntl(pipes[2][0], F_SETOWN_EX, &thread));
    for (int i = 0; i < 3; i++)
        must(fcntl(pipes[i][0], F_SETSIG, 40 + i));
    struct sigaction action = {.sa_sigaction = on_io, .sa_flags = SA_SIGINFO};
    must(sigaction(42, &action, NULL));
    must(fcntl(pipes[2][0], F_SETFL, O_ASYNC));
    /* An owner set by another user is checked against that user's rights. */
    must(seteuid(4000));
    must(fcntl(pipes[3][0], F_SETOWN, getpid()));
    must(seteuid(0));

    test_daemon();
    test_waitsig();

    check(fcntl(pipes[0][0], F_GETOWN) == getpid(), "owner %d", fcntl(pipes[0][0], F_GETOWN));
    check(fcntl(pipes[3][0], F_GETOWN) == getpid(), "owner %d", fcntl(pipes[3][0], F_GETOWN));
    uid_t ids[2];
    if (fcntl(pipes[3][0], 17 /* F_GETOWNER_UIDS */, ids) == 0)
        check(ids[0] == 0 && ids[1] == 4000, "owner's users %d %d", ids[0], ids[1]);
    check(fcntl(pipes[1][0], F_GETOWN_EX, &found) == 0 && found.type == F_OWNER_PGRP && found.pid == getpgrp(),
          "owning group");
    check(fcntl(pipes[2][0], F_GETOWN_EX, &found) == 0 && found.type == F_OWNER_TID && found.pid == gettid_(),
          "owning thread");
    for (int i = 0; i < 3; i++)
        check(fcntl(pipes[i][0], F_GETSIG) == 40 + i, "signal %d", fcntl(pipes[i][0], F_GETSIG));
    check(fcntl(pipes[2][0], F_GETFL) & O_ASYNC, "O_ASYNC is lost");
    must(write(pipes[2][1], "x", 1));
    for (int i = 0; i < 1000 && !seen_fd; i++)
        sleep_ms(1);
    check(seen_fd == pipes[2][0], "no signal, or for descriptor %d", seen_fd);
    return pass();
}
