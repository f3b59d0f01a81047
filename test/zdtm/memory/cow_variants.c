/* Copy-on-write in less simple cases: pages dropped, moved, unmapped, remapped and protected after the fork. */
#include "zdtm.h"

#define SIZE (64 * PAGE)

static uint8_t *dropped, *moved, *moved_to, *holed, *guarded, *regrown;
static uint32_t crcs[5];

static int body(void *unused) {
    (void)unused;
    must(madvise(dropped, SIZE, MADV_DONTNEED));
    moved_to = (void *)must(mremap(moved, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED,
                                   mmap(NULL, SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)));
    must(munmap(holed + 10 * PAGE, 5 * PAGE));
    must(mprotect(guarded, SIZE, PROT_NONE));
    must(munmap(regrown, SIZE));
    must(mmap(regrown, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
    regrown[PAGE] = 9;
    child_wait();
    check(all_bytes_are(dropped, 0, SIZE), "dropped pages are back");
    check(datachk(moved_to, SIZE, &crcs[1]), "moved memory differs");
    check(datachk(holed, 10 * PAGE, &crcs[2]), "memory before the hole differs");
    check(!*mapping_perms(holed + 12 * PAGE), "the hole is mapped");
    must(mprotect(guarded, SIZE, PROT_READ));
    check(datachk(guarded, SIZE, &crcs[3]), "protected memory differs");
    check(all_bytes_are(regrown, 0, PAGE) && regrown[PAGE] == 9 &&
              all_bytes_are(regrown + 2 * PAGE, 0, SIZE - 2 * PAGE),
          "replaced memory shows what was there before");
    return 0;
}

static uint8_t *fresh(uint32_t *crc, size_t checked) {
    uint8_t *memory = map_private(SIZE + PAGE);
    *crc = ~0u;
    datagen(memory, checked, crc);
    datagen(memory + checked, SIZE - checked, NULL);
    return memory;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    dropped = fresh(&crcs[0], SIZE);
    moved = fresh(&crcs[1], SIZE);
    holed = fresh(&crcs[2], 10 * PAGE);
    guarded = fresh(&crcs[3], SIZE);
    regrown = fresh(&crcs[4], SIZE);
    pid_t child = spawn(body, NULL);
    test_daemon();
    test_waitsig();
    check(datachk(dropped, SIZE, &crcs[0]) && datachk(moved, SIZE, &crcs[1]) && datachk(guarded, SIZE, &crcs[3]) &&
              datachk(regrown, SIZE, &crcs[4]),
          "the parent's memory differs");
    finish_child(child);
    check(datachk(dropped, SIZE, &crcs[0]), "the child's writes are seen");
    return pass();
}
