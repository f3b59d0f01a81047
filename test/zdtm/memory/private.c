/* Private anonymous memory: 64 MiB of random data, pages that were never touched, and protections. */
#include "zdtm.h"

#define SIZE (64 * MIB)

int main(int argc, char **argv) {
    test_init(argc, argv);
    uint8_t *data = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(data != MAP_FAILED, "mmap");
    uint8_t *scattered = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(scattered != MAP_FAILED, "mmap");
    /* Without huge pages, or a written page would bring its neighbours. */
    madvise(scattered, SIZE, MADV_NOHUGEPAGE);
    uint32_t crc = ~0u;
    datagen(data, SIZE, &crc);
    for (size_t page = 0; page < SIZE / PAGE; page += 7)
        memset(scattered + page * PAGE, page % 251 + 1, PAGE);

    test_daemon();
    test_waitsig();

    check(datachk(data, SIZE, &crc), "64 MiB differ");
    for (size_t page = 0; page < SIZE / PAGE; page++) {
        int byte = page % 7 ? 0 : page % 251 + 1;
        check(all_bytes_are(scattered + page * PAGE, byte, PAGE), "page %zu differs", page);
    }
    memset(data, 7, SIZE);
    check(all_bytes_are(data, 7, SIZE), "memory does not keep what is written");
    return pass();
}
