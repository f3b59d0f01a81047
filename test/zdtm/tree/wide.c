/* A hundred children of one parent, with data of their own. */
#include "zdtm.h"

#define CHILDREN 100

static int body(void *argument) {
    uint8_t *page = malloc(3 * PAGE);
    memset(page, (long)argument, 3 * PAGE);
    pid_t parent = getppid();
    child_wait();
    check(getppid() == parent, "parent is %d", getppid());
    check(all_bytes_are(page, (long)argument, 3 * PAGE), "data of child %ld", (long)argument);
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    pid_t children[CHILDREN];
    for (long i = 0; i < CHILDREN; i++)
        children[i] = spawn(body, (void *)i);
    test_daemon();
    test_waitsig();
    for (int i = 0; i < CHILDREN; i++)
        finish_child(children[i]);
    return pass();
}
