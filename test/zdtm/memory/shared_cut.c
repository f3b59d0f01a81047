/* Shared anonymous memory of which a part is mapped nowhere any more: what is mapped comes back, and a mapping that grows
 * again finds the rest. */
#include "zdtm.h"

#define PAGES 8
#define HALF (PAGES / 2)

static uint8_t *make(int seed, int filled) {
    uint8_t *at = map_shared(PAGES * PAGE);
    for (int i = 0; i < filled; i++)
        *(int *)(at + i * PAGE) = seed + i;
    return at;
}

static void verify(const char *what, uint8_t *at, int seed, int first, int pages, int filled) {
    for (int i = first; i < first + pages; i++) {
        int wanted = i < filled ? seed + i : 0, found = *(int *)(at + (i - first) * PAGE);
        check(found == wanted, "%s: page %d holds %d, not %d", what, i, found, wanted);
    }
}

static uint8_t *grow(uint8_t *at, int pages) {
    return mremap(at, pages * PAGE, (pages + HALF) * PAGE, MREMAP_MAYMOVE);
}

static int child(void *common) {
    child_wait();
    verify("child", common, 400, 0, HALF, PAGES);
    *(int *)common = 1;
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    uint8_t *end = make(100, PAGES), *begin = make(200, PAGES), *hole = make(300, HALF), *common = make(400, PAGES);
    must(munmap(end + HALF * PAGE, HALF * PAGE));
    must(munmap(begin, HALF * PAGE)); /* its offset remains */
    must(munmap(hole + HALF * PAGE, HALF * PAGE));
    must(munmap(common + HALF * PAGE, HALF * PAGE));
    /* The middle of one, twice. */
    uint8_t *twice = make(500, PAGES);
    uint8_t *copy = mremap(twice, 0, HALF * PAGE, MREMAP_MAYMOVE);
    must(copy == MAP_FAILED ? -1 : 0);
    must(munmap(twice + HALF * PAGE, HALF * PAGE));
    pid_t pid = spawn(child, common);

    test_daemon();
    test_waitsig();

    verify("end cut off", end, 100, 0, HALF, PAGES);
    verify("beginning cut off", begin + HALF * PAGE, 200, HALF, HALF, PAGES);
    verify("hole cut off", hole, 300, 0, HALF, HALF);
    verify("in common", common, 400, 0, HALF, PAGES);
    verify("twice", copy, 500, 0, HALF, PAGES);
    finish_child(pid);
    check(*(int *)common == 1, "a child's write is not seen");
    *(int *)common = 400;
    *(int *)copy = 7;
    check(*(int *)twice == 7, "the two mappings are not the same memory");
    *(int *)copy = 500;
    verify("end grown", grow(end, HALF), 100, 0, PAGES, PAGES);
    verify("hole grown", grow(hole, HALF), 300, 0, PAGES, HALF);
    verify("common grown", grow(common, HALF), 400, 0, PAGES, PAGES);
    verify("twice grown", grow(copy, HALF), 500, 0, PAGES, PAGES);
    return pass();
}
