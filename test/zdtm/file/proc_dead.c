/* A descriptor of a /proc file whose task has died: reading says so, as before. */
#include "zdtm.h"

static int body(void *unused) {
    (void)unused;
    child_ready();
    test_waitsig();
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    char path[64], text[256];
    pid_t child = spawn(body, NULL);
    snprintf(path, sizeof(path), "/proc/%d/status", child);
    int fd = must(open(path, O_RDONLY));
    finish_child(child);
    test_daemon();
    test_waitsig();
    check(read(fd, text, sizeof(text)) == -1 && errno == ESRCH, "the dead task can be read");
    check(kill(child, 0) == -1 && errno == ESRCH, "the dead task is back");
    return pass();
}
