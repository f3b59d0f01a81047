/* Shared anonymous memory over three processes: one object, mapped in parts, with different protections, also by a
 * process that has unmapped most of it, and objects that only a grandchild still maps. */
#include "zdtm.h"

#define SIZE (100 * PAGE)

static uint8_t *memory, *only_child;
static uint32_t crc = ~0u, child_crc = ~0u;

static int grandchild(void *unused) {
    (void)unused;
    must(munmap(memory, 50 * PAGE));
    must(mprotect(memory + 50 * PAGE, 50 * PAGE, PROT_READ));
    child_wait();
    check(datachk(only_child, SIZE, &child_crc), "memory of the grandchild alone differs");
    check(memory[60 * PAGE] == 60, "the grandchild does not see the child's write");
    check(!strcmp(mapping_perms(memory + 50 * PAGE), "r--s"), "protection %s", mapping_perms(memory + 50 * PAGE));
    return 0;
}

static int child(void *unused) {
    (void)unused;
    pid_t pid = spawn(grandchild, NULL);
    must(munmap(only_child, SIZE));
    child_wait();
    check(memory[3 * PAGE] == 30, "the child does not see the parent's write");
    memory[60 * PAGE] = 60;
    finish_child(pid);
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    memory = map_shared(SIZE);
    only_child = map_shared(SIZE);
    uint8_t *sparse = map_shared(64 * MIB);
    datagen(memory, SIZE, &crc);
    datagen(only_child, SIZE, &child_crc);
    sparse[MIB] = 1;
    sparse[60 * MIB] = 2;
    pid_t pid = spawn(child, NULL);
    must(munmap(only_child, SIZE));
    test_daemon();
    test_waitsig();
    check(datachk(memory, SIZE, &crc), "contents differ");
    check(sparse[MIB] == 1 && sparse[60 * MIB] == 2 && smaps_kb(sparse, "Rss:") < 4096,
          "sparse memory: %ld kB are present", smaps_kb(sparse, "Rss:"));
    memory[3 * PAGE] = 30;
    finish_child(pid);
    check(memory[60 * PAGE] == 60, "the child's write is not seen");
    check(sparse[5 * MIB] == 0, "hole is not zero");
    return pass();
}
