/* A descriptor table that two processes share (CLONE_FILES): what one opens or closes, the other sees. */
#include "zdtm.h"

static int fd;

static int body(void *unused) {
    (void)unused;
    child_wait();
    /* The parent has opened 200 and closed fd in the meantime. */
    check(fcntl(200, F_GETFD) != -1, "the child does not see the parent's new descriptor");
    check(fcntl(fd, F_GETFD) == -1 && errno == EBADF, "the child still has what the parent closed");
    check(dup2(200, 201) == 201, "dup2");
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    fd = must(open("/dev/zero", O_RDONLY));
    pid_t child = spawn_flags(CLONE_FILES | SIGCHLD, body, NULL);
    test_daemon();
    test_waitsig();
    check(fcntl(fd, F_GETFD) != -1, "descriptor lost");
    check(dup2(fd, 200) == 200, "dup2");
    close(fd);
    finish_child(child);
    check(fcntl(201, F_GETFD) != -1, "the parent does not see the child's new descriptor");
    return pass();
}
