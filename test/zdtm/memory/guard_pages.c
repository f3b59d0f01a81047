/* Guard pages (MADV_GUARD_INSTALL): touching them is still deadly, their neighbours keep their contents. */
#include "abi.h"
#include "zdtm.h"

#include <setjmp.h>

static sigjmp_buf jump;
static void on_fault(int number) {
    (void)number;
    siglongjmp(jump, 1);
}

static bool faults(volatile uint8_t *address) {
    if (sigsetjmp(jump, 1))
        return true;
    (void)*address;
    return false;
}

#define PAGES 64

int main(int argc, char **argv) {
    test_init(argc, argv);
    signal(SIGSEGV, on_fault);
    uint8_t *memory = map_private(PAGES * PAGE);
    memset(memory, 'g', PAGES * PAGE);
    for (int i = 0; i < PAGES; i += 4)
        must(madvise(memory + i * PAGE, PAGE, MADV_GUARD_INSTALL));
    must(madvise(memory + 41 * PAGE, 3 * PAGE, MADV_GUARD_INSTALL));
    test_daemon();
    test_waitsig();
    for (int i = 0; i < PAGES; i++) {
        bool guard = i % 4 == 0 || (i >= 41 && i < 44);
        check(faults(memory + i * PAGE) == guard, "page %d: %s", i, guard ? "is no guard any more" : "faults");
        if (!guard)
            check(all_bytes_are(memory + i * PAGE, 'g', PAGE), "page %d differs", i);
    }
    must(madvise(memory, PAGES * PAGE, MADV_GUARD_REMOVE));
    check(memory[0] == 0 && memory[PAGE] == 'g', "after removing the guards");
    return pass();
}
