/* Mappings that mremap has moved, grown, duplicated and left holes in. */
#include "zdtm.h"

#define SIZE (32 * PAGE)

int main(int argc, char **argv) {
    test_init(argc, argv);
    uint32_t crc = ~0u, shared_crc = ~0u;
    uint8_t *moved = map_private(SIZE);
    datagen(moved, SIZE, &crc);
    uint8_t *target = map_private(2 * SIZE);
    moved = (void *)must(mremap(moved, SIZE, 2 * SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, target));
    uint8_t *shared = map_shared(SIZE);
    datagen(shared, SIZE, &shared_crc);
    /* Size 0 duplicates a shared mapping. */
    uint8_t *twin = (void *)must(mremap(shared, 0, SIZE, MREMAP_MAYMOVE));
    uint8_t *emptied = map_private(SIZE);
    memset(emptied, 3, SIZE);
    uint8_t *filled =
        (void *)must(syscall(SYS_mremap, emptied, SIZE, SIZE, MREMAP_MAYMOVE | 4 /* MREMAP_DONTUNMAP */, 0L));

    test_daemon();
    test_waitsig();

    check(datachk(moved, SIZE, &crc) && all_bytes_are(moved + SIZE, 0, SIZE), "moved memory differs");
    check(datachk(shared, SIZE, &shared_crc) && datachk(twin, SIZE, &shared_crc), "shared memory differs");
    twin[17] ^= 1;
    check(shared[17] == twin[17], "twins are two");
    check(all_bytes_are(emptied, 0, SIZE) && all_bytes_are(filled, 3, SIZE), "memory left behind");
    return pass();
}
