/* Huge sparse mappings: a terabyte without reservation, gigabytes read but never written; nothing gets allocated by the
 * checkpoint, and zero pages stay what they are. */
#include "zdtm.h"

#define TIB (1UL << 40)

int main(int argc, char **argv) {
    test_init(argc, argv);
    uint8_t *huge =
        (void *)must(mmap(NULL, TIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    madvise(huge, TIB, MADV_NOHUGEPAGE);
    for (size_t i = 0; i < 1000; i++)
        huge[i * (TIB / 1000) / PAGE * PAGE + i] = i % 255 + 1;
    uint8_t *only_read = map_private(64 * MIB);
    madvise(only_read, 64 * MIB, MADV_NOHUGEPAGE);
    volatile uint8_t sum = 0;
    for (size_t i = 0; i < 64 * MIB; i += PAGE)
        sum += only_read[i];
    uint8_t *written_zero = map_private(4 * MIB);
    memset(written_zero, 0, 4 * MIB);
    long rss = smaps_kb(huge, "Rss:");

    test_daemon();
    test_waitsig();

    check(smaps_kb(huge, "Rss:") <= rss + 64, "%ld kB of the sparse mapping are present, it was %ld",
          smaps_kb(huge, "Rss:"), rss);
    check(smaps_kb(only_read, "Anonymous:") <= 64, "zero pages became memory: %ld kB",
          smaps_kb(only_read, "Anonymous:"));
    check(has_vm_flag(huge, "nr"), "the mapping reserves memory now");
    for (size_t i = 0; i < 1000; i++)
        check(huge[i * (TIB / 1000) / PAGE * PAGE + i] == i % 255 + 1, "page %zu differs", i);
    check(huge[12345 * PAGE] == 0 && all_bytes_are(only_read, 0, 64 * MIB) && all_bytes_are(written_zero, 0, 4 * MIB),
          "holes");
    return pass();
}
