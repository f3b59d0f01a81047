/* Private mappings of shared anonymous and System V memory, which show what others write until they write themselves. */
#include "zdtm.h"

#include <sys/ipc.h>
#include <sys/shm.h>

enum { PAGES = 4, SIZE = PAGE * PAGES };

static uint8_t *private_of(const uint8_t *shared) {
    char path[100];
    snprintf(path, sizeof path, "/proc/self/map_files/%lx-%lx", (unsigned long)shared, (unsigned long)shared + SIZE);
    int fd = must(open(path, O_RDWR));
    uint8_t *private = (void *)must(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
    close(fd);
    return private;
}

/* Page 0 was never touched, page 1 was read, page 2 was written. */
static uint8_t *set_up(uint8_t *shared) {
    for (int page = 0; page < PAGES; page++)
        shared[page * PAGE] = 10 + page;
    uint8_t *private = private_of(shared);
    check(private[PAGE] == 11, "not a mapping of the same memory");
    private[2 * PAGE] = 99;
    return private;
}

static void verify(uint8_t *shared, uint8_t *private, const char *what) {
    check(private[0] == 10 && private[PAGE] == 11 && private[3 * PAGE] == 13, "%s: contents are lost", what);
    check(private[2 * PAGE] == 99 && shared[2 * PAGE] == 12, "%s: the page of its own", what);
    for (int page = 0; page < PAGES; page++)
        shared[page * PAGE] += 100;
    check(private[0] == 110 && private[PAGE] == 111, "%s: it does not show what is written: %d", what, private[PAGE]);
    check(private[2 * PAGE] == 99, "%s: it shows what is written behind its own page", what);
    private[3 * PAGE] = 5;
    check(shared[3 * PAGE] == 113, "%s: it is shared", what);
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    uint8_t *shared = (void *)must(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    int id = must(shmget(IPC_PRIVATE, SIZE, IPC_CREAT | 0600));
    uint8_t *segment = shmat(id, NULL, 0);
    must(segment == (void *)-1 ? -1 : 0);
    must(shmctl(id, IPC_RMID, NULL));
    uint8_t *of_shared = set_up(shared), *of_segment = set_up(segment);
    test_daemon();
    test_waitsig();
    verify(shared, of_shared, "anonymous");
    verify(segment, of_segment, "System V");
    return pass();
}
