/* A chain of fifty generations. */
#include "zdtm.h"

#define LEVELS 50

static int level(void *argument) {
    long number = (long)argument;
    pid_t child = number ? spawn(level, (void *)(number - 1)) : 0;
    pid_t pid = getpid(), parent = getppid();
    child_wait();
    check(getpid() == pid && getppid() == parent, "level %ld: pid %d, parent %d", number, getpid(), getppid());
    if (child)
        finish_child(child);
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    pid_t child = spawn(level, (void *)LEVELS);
    test_daemon();
    test_waitsig();
    finish_child(child);
    return pass();
}
