/* Leases: read and write leases, and the signal when somebody breaks one. */
#include "zdtm.h"

static volatile int broken;
static void on_break(int number, siginfo_t *info, void *context) {
    (void)number;
    (void)context;
    broken = info->si_fd;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    write_file("read", "x", 1);
    write_file("write", "x", 1);
    int reader = must(open("read", O_RDONLY)), writer = must(open("write", O_RDWR));
    struct sigaction action = {.sa_sigaction = on_break, .sa_flags = SA_SIGINFO};
    must(sigaction(44, &action, NULL));
    must(fcntl(reader, F_SETSIG, 44));
    must(fcntl(reader, F_SETLEASE, F_RDLCK));
    must(fcntl(writer, F_SETLEASE, F_WRLCK));
    test_daemon();
    test_waitsig();
    check(fcntl(reader, F_GETLEASE) == F_RDLCK && fcntl(writer, F_GETLEASE) == F_WRLCK, "leases are lost");
    check(open("read", O_WRONLY | O_NONBLOCK) == -1 && errno == EWOULDBLOCK, "the lease is not in force");
    for (int i = 0; i < 1000 && !broken; i++)
        sleep_ms(1);
    check(broken == reader, "no signal for the broken lease");
    check(fcntl(reader, F_SETLEASE, F_UNLCK) == 0 && open("read", O_WRONLY | O_NONBLOCK) >= 0, "giving it up");
    return pass();
}
