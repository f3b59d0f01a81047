/* Several files that a dump refuses, in two processes: one dump names them all, so that nobody has to try once for each. */
#include "zdtm.h"

/* Deleted, while another name of it is there. */
static int open_removed(const char *name) {
    char second[4200];
    snprintf(second, sizeof(second), "%s.second", name);
    int fd = must(open(name, O_CREAT | O_RDWR, 0600));
    must(link(name, second));
    must(unlink(name));
    return fd;
}

static int child_body(void *unused) {
    (void)unused;
    open_removed("in.child");
    child_wait();
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    pid_t child = spawn(child_body, NULL);
    int first = open_removed("in.first"), second = open_removed("in.second");
    test_daemon();
    test_waitsig();
    check(write(first, "x", 1) == 1 && write(second, "x", 1) == 1, "write");
    finish_child(child);
    return pass();
}
