/* Leases that somebody is breaking: the holder has had its signal and has not answered yet. One opener sleeps in open(2),
 * others were sent away. A lease on a file that is mapped as well. */
#include "zdtm.h"

#include <sys/mman.h>

static volatile int signals;
static void on_break(int number) {
    (void)number;
    signals++;
}

static int leased(const char *name, int flags, int lease) {
    write_file(name, "x", 1);
    int fd = must(open(name, flags));
    must(fcntl(fd, F_SETSIG, 44));
    must(fcntl(fd, F_SETLEASE, lease));
    return fd;
}

static void break_lease(const char *name, int flags) {
    int before = signals;
    check(open(name, flags | O_NONBLOCK) == -1 && errno == EWOULDBLOCK, "%s: the lease is not in force", name);
    for (int i = 0; i < 1000 && signals == before; i++)
        sleep_ms(1);
    check(signals == before + 1, "%s: no signal", name);
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    struct sigaction action = {.sa_handler = on_break, .sa_flags = SA_RESTART};
    must(sigaction(44, &action, NULL));
    int shared = leased("shared", O_RDONLY, F_WRLCK);   /* an opener wants to read: becomes a lease for reading */
    int given_up = leased("given_up", O_RDWR, F_WRLCK); /* ... to write: ends */
    int reading = leased("reading", O_RDONLY, F_RDLCK);
    int asleep = leased("asleep", O_RDONLY, F_RDLCK);
    int mapped = leased("mapped", O_RDWR, F_WRLCK);
    char *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, mapped, 0);
    must(memory == MAP_FAILED ? -1 : 0);
    break_lease("shared", O_RDONLY);
    break_lease("given_up", O_WRONLY);
    break_lease("reading", O_WRONLY);
    int before = signals;
    pid_t opener = must(fork());
    if (!opener) {
        int fd = open("asleep", O_WRONLY);
        _exit(fd >= 0 && write(fd, "y", 1) == 1 ? 0 : 1);
    }
    for (int i = 0; i < 1000 && signals == before; i++)
        sleep_ms(1);
    before = signals;
    test_daemon();
    test_waitsig();
    check(signals == before, "%d signals too many", signals - before);
    check(fcntl(shared, F_GETLEASE) == F_RDLCK, "shared: %d", fcntl(shared, F_GETLEASE));
    check(fcntl(given_up, F_GETLEASE) == F_UNLCK, "given_up: %d", fcntl(given_up, F_GETLEASE));
    check(fcntl(reading, F_GETLEASE) == F_UNLCK, "reading: %d", fcntl(reading, F_GETLEASE));
    check(fcntl(mapped, F_GETLEASE) == F_WRLCK, "mapped: %d", fcntl(mapped, F_GETLEASE));
    check(open("shared", O_RDONLY | O_NONBLOCK) == -1 && errno == EWOULDBLOCK, "shared: not waited for");
    check(open("given_up", O_RDONLY | O_NONBLOCK) == -1 && errno == EWOULDBLOCK, "given_up: not waited for");
    check(fcntl(shared, F_GETSIG) == 44 && fcntl(shared, F_GETOWN) == getpid(), "who is told");
    check(fcntl(shared, F_SETLEASE, F_RDLCK) == 0 && open("shared", O_RDONLY | O_NONBLOCK) >= 0, "shared: after it");
    check(fcntl(reading, F_SETLEASE, F_UNLCK) == 0 && open("reading", O_WRONLY | O_NONBLOCK) >= 0, "reading: after it");
    check(fcntl(asleep, F_SETLEASE, F_UNLCK) == 0, "asleep: giving it up");
    int status;
    check(waitpid(opener, &status, 0) == opener && status == 0, "the opener that slept: %#x", status);
    break_lease("mapped", O_RDONLY);
    return pass();
}
