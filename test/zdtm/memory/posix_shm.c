/* POSIX shared memory: an object with a name and one without, mapped by two processes. */
#include "zdtm.h"

#define SIZE (8 * PAGE)
static uint8_t *named, *unlinked;

static int body(void *unused) {
    (void)unused;
    child_wait();
    check(named[1] == 1 && unlinked[1] == 2, "the child does not see the parent's writes");
    return 0;
}

static uint8_t *make(const char *name) {
    int fd = must(shm_open(name, O_CREAT | O_RDWR, 0600));
    must(ftruncate(fd, SIZE));
    uint8_t *map = (void *)must(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    close(fd);
    return map;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    char names[2][64];
    for (int i = 0; i < 2; i++)
        snprintf(names[i], sizeof(names[i]), "/zdtm-%ld-%d", (long)now_ns(CLOCK_REALTIME), i);
    named = make(names[0]);
    unlinked = make(names[1]);
    must(shm_unlink(names[1]));
    uint32_t crcs[2] = {~0u, ~0u};
    datagen(named, SIZE, &crcs[0]);
    datagen(unlinked, SIZE, &crcs[1]);
    pid_t child = spawn(body, NULL);
    test_daemon();
    test_waitsig();
    bool same = datachk(named, SIZE, &crcs[0]) && datachk(unlinked, SIZE, &crcs[1]);
    int fd = shm_open(names[0], O_RDWR, 0);
    shm_unlink(names[0]);
    check(same, "contents differ");
    named[1] = 1;
    unlinked[1] = 2;
    uint8_t byte;
    check(fd >= 0 && pread(fd, &byte, 1, 1) == 1 && byte == 1, "the name leads to another object");
    finish_child(child);
    return pass();
}
