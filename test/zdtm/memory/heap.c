/* The heap: its contents, and brk() that goes on growing and shrinking from where it was. */
#include "zdtm.h"

int main(int argc, char **argv) {
    test_init(argc, argv);
    char *start = sbrk(0);
    must((long)sbrk(3 * MIB));
    uint32_t crc = ~0u;
    datagen(start, 3 * MIB, &crc);
    char *end = sbrk(0);

    test_daemon();
    test_waitsig();

    check(sbrk(0) == end, "break is %p instead of %p", sbrk(0), end);
    check(datachk(start, 3 * MIB, &crc), "heap contents differ");
    check(sbrk(MIB) == end, "the heap does not grow");
    check(all_bytes_are(end, 0, MIB), "new heap memory is not zero");
    memset(end, 1, MIB);
    check(datachk(start, 3 * MIB, &crc), "growing harmed the heap");
    check(sbrk(-(long)(2 * MIB)) != (void *)-1, "the heap does not shrink");
    check(sbrk(0) == end - MIB, "break after shrinking");
    for (int i = 0; i < 1000; i++) {
        char *block = malloc(100 + i * 13);
        check(block != NULL, "malloc");
        memset(block, i, 100 + i * 13);
    }
    return pass();
}
