/* eventfd: counters, flags, semaphore mode, and one shared with a child. */
#include "zdtm.h"

#include <sys/eventfd.h>

static int shared;

static int body(void *unused) {
    (void)unused;
    uint64_t value;
    child_wait();
    check(read(shared, &value, 8) == 8 && value == 77, "the child reads %lu", value);
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    int plain = must(eventfd(12, EFD_NONBLOCK | EFD_CLOEXEC)),
        semaphore = must(eventfd(3, EFD_SEMAPHORE | EFD_NONBLOCK));
    int full = must(eventfd(0, EFD_NONBLOCK)), empty = must(eventfd(0, EFD_NONBLOCK));
    uint64_t value = UINT64_MAX - 1;
    must(write(full, &value, 8));
    shared = must(eventfd(0, 0));
    pid_t child = spawn(body, NULL);
    test_daemon();
    test_waitsig();
    check(fcntl(plain, F_GETFD) == FD_CLOEXEC && fcntl(plain, F_GETFL) & O_NONBLOCK, "flags");
    check(read(plain, &value, 8) == 8 && value == 12, "counter is %lu", value);
    for (int i = 0; i < 3; i++)
        check(read(semaphore, &value, 8) == 8 && value == 1, "semaphore: %lu", value);
    check(read(semaphore, &value, 8) == -1 && errno == EAGAIN, "semaphore counts too much");
    value = 1;
    check(write(full, &value, 8) == -1 && errno == EAGAIN, "the full counter is not full");
    check(read(full, &value, 8) == 8 && value == UINT64_MAX - 1, "full counter");
    check(read(empty, &value, 8) == -1 && errno == EAGAIN, "the empty counter is not empty");
    value = 77;
    must(write(shared, &value, 8));
    finish_child(child);
    return pass();
}
