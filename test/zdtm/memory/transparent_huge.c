/* Transparent huge pages: contents of huge and of split ranges; the advice stays. */
#include "zdtm.h"

#define HUGE (2 * MIB)
#define COUNT 8

int main(int argc, char **argv) {
    test_init(argc, argv);
    uint8_t *area = map_private((COUNT + 1) * HUGE);
    uint8_t *memory = (uint8_t *)(((uintptr_t)area + HUGE - 1) / HUGE * HUGE);
    must(madvise(memory, COUNT * HUGE, MADV_HUGEPAGE));
    uint32_t crc = ~0u;
    datagen(memory, COUNT * HUGE, &crc);
    /* One is split, one has a hole. */
    must(madvise(memory + 3 * HUGE + 5 * PAGE, PAGE, MADV_DONTNEED));
    must(mprotect(memory + 5 * HUGE + 9 * PAGE, PAGE, PROT_READ));
    crc = crc32_of(~0u, memory, COUNT * HUGE);
    test_daemon();
    test_waitsig();
    check(datachk(memory, COUNT * HUGE, &crc), "contents differ");
    check(has_vm_flag(memory, "hg"), "advice is lost");
    check(all_bytes_are(memory + 3 * HUGE + 5 * PAGE, 0, PAGE), "hole");
    return pass();
}
