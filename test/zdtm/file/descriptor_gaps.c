/* Descriptor numbers: closed standard files, gaps, and the lowest free number afterwards. */
#include "zdtm.h"

static int body(void *unused) {
    (void)unused;
    close(0);
    int first = must(dup2(1, 9));
    child_wait();
    check(fcntl(0, F_GETFD) == -1 && errno == EBADF, "descriptor 0 is open");
    check(fcntl(first, F_GETFD) == 0, "descriptor 9 is closed");
    for (int i = 3; i < 60; i++)
        check(i == first || fcntl(i, F_GETFD) == -1, "descriptor %d has appeared", i);
    check(open("/dev/null", O_RDONLY) == 0 && open("/dev/null", O_RDONLY) == 3, "lowest free numbers");
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    pid_t child = spawn(body, NULL);
    test_daemon();
    test_waitsig();
    finish_child(child);
    return pass();
}
