/* The stack: contents, automatic growth after restore to the limit that the process had, and MAP_GROWSDOWN areas. */
#include "zdtm.h"

#include <sys/resource.h>

__attribute__((noinline)) static unsigned recurse(unsigned depth) {
    volatile uint8_t frame[16384];
    frame[0] = depth;
    frame[16383] = depth + 1;
    unsigned below = depth ? recurse(depth - 1) : 0;
    return below + frame[0] + (frame[16383] == (uint8_t)(depth + 1));
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    uint8_t local[5000];
    uint32_t crc = ~0u;
    datagen(local, sizeof(local), &crc);

    /* A stack of our own with room below it, which nothing else may take. */
    uint8_t *room = (void *)must(mmap(NULL, 64 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    must(munmap(room, 64 * MIB));
    uint8_t *growing = (void *)must(mmap(room + 32 * MIB, 16 * PAGE, PROT_READ | PROT_WRITE,
                                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED, -1, 0));
    memset(growing, 0x44, 16 * PAGE);
    growing[-(long)PAGE] = 0x43; /* has grown once before the checkpoint */

    test_daemon();
    test_waitsig();

    check(datachk(local, sizeof(local), &crc), "stack contents differ");
    check(recurse(300) > 0, "recursion");
    check(all_bytes_are(growing, 0x44, 16 * PAGE) && growing[-(long)PAGE] == 0x43,
          "contents of the growing area differ");
    check(has_vm_flag(growing, "gd"), "the area does not grow any more");
    for (int page = 2; page < 40; page++)
        growing[-page * (long)PAGE] = page;
    for (int page = 2; page < 40; page++)
        check(growing[-page * (long)PAGE] == page, "page %d below", page);
    return pass();
}
