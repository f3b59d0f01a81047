/* An io_uring instance: refused by name while the program goes on. */
#include "zdtm.h"

int main(int argc, char **argv) {
    test_init(argc, argv);
    char parameters[120] = {0};
    int fd = must(syscall(425 /* io_uring_setup */, 8, parameters));
    test_daemon();
    test_waitsig();
    check(fcntl(fd, F_GETFD) != -1, "descriptor");
    return pass();
}
