/* Copy-on-write sharing between a parent and its children: contents of every generation, pages still shared where they
 * were, and writes that stay private. */
#include "zdtm.h"

#define PAGES 512

static uint8_t *memory;

/* How many of our pages nobody else maps, by pagemap's "exclusively mapped" bit. */
static int exclusive_pages(void) {
    int count = 0;
    for (size_t i = 0; i < PAGES; i++)
        count += (pagemap_entry(memory + i * PAGE) >> 56 & 1) != 0;
    return count;
}

static int leaf(void *unused) {
    (void)unused;
    for (size_t i = 0; i < PAGES; i += 8)
        memory[i * PAGE] = 3;
    child_wait();
    for (size_t i = 0; i < PAGES; i++) {
        int wanted = i % 8 == 0 ? 3 : i % 4 == 0 ? 2 : 1;
        check(memory[i * PAGE] == wanted && memory[i * PAGE + 9] == (uint8_t)i, "grandchild: page %zu has %d", i,
              memory[i * PAGE]);
    }
    /* Three quarters were never written by anyone but the first. */
    check(exclusive_pages() <= PAGES / 8 + 16, "grandchild: sharing is lost, %d pages are its own", exclusive_pages());
    memset(memory, 33, PAGES * PAGE);
    return 0;
}

static int middle(void *unused) {
    (void)unused;
    for (size_t i = 0; i < PAGES; i += 4)
        memory[i * PAGE] = 2;
    pid_t child = spawn(leaf, NULL);
    child_wait();
    finish_child(child);
    for (size_t i = 0; i < PAGES; i++)
        check(memory[i * PAGE] == (i % 4 == 0 ? 2 : 1) && memory[i * PAGE + 9] == (uint8_t)i, "child: page %zu has %d",
              i, memory[i * PAGE]);
    memset(memory, 22, PAGES * PAGE);
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    memory = map_private(PAGES * PAGE);
    madvise(memory, PAGES * PAGE, MADV_NOHUGEPAGE);
    for (size_t i = 0; i < PAGES; i++) {
        memory[i * PAGE] = 1;
        memory[i * PAGE + 9] = i;
    }
    pid_t child = spawn(middle, NULL);
    test_daemon();
    test_waitsig();
    check(exclusive_pages() <= PAGES / 4 + 16, "parent: sharing is lost, %d pages are its own", exclusive_pages());
    finish_child(child);
    for (size_t i = 0; i < PAGES; i++)
        check(memory[i * PAGE] == 1 && memory[i * PAGE + 9] == (uint8_t)i, "parent: page %zu has %d", i,
              memory[i * PAGE]);
    return pass();
}
