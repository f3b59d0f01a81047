/* Five thousand mappings that cannot be merged. */
#include "zdtm.h"

#define COUNT 5000

int main(int argc, char **argv) {
    test_init(argc, argv);
    uint8_t *memory = map_private(COUNT * 2 * PAGE);
    for (size_t i = 0; i < COUNT; i++) {
        uint8_t *page = memory + i * 2 * PAGE;
        memcpy(page, &i, sizeof(i));
        must(mprotect(page, PAGE, i % 3 == 0 ? PROT_READ : i % 3 == 1 ? PROT_READ | PROT_EXEC : PROT_NONE));
    }
    test_daemon();
    test_waitsig();
    must(mprotect(memory, COUNT * 2 * PAGE, PROT_READ | PROT_WRITE));
    for (size_t i = 0; i < COUNT; i++) {
        check(!memcmp(memory + i * 2 * PAGE, &i, sizeof(i)), "page %zu differs", i);
        check(memory[i * 2 * PAGE + PAGE] == 0, "gap %zu", i);
    }
    return pass();
}
