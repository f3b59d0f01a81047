/* Private and shared anonymous mappings of huge TLB pages. */
#include "zdtm.h"

#define SIZE (4 * MIB)

int main(int argc, char **argv) {
    test_init(argc, argv);
    uint8_t *private =
        (void *)must(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0));
    uint8_t *shared =
        (void *)must(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0));
    uint32_t crc = ~0u, shared_crc = ~0u;
    datagen(private, SIZE / 2, &crc);
    datagen(shared, SIZE, &shared_crc);
    test_daemon();
    test_waitsig();
    check(has_vm_flag(private, "ht") && has_vm_flag(shared, "ht"), "memory is not made of huge pages any more");
    check(datachk(private, SIZE / 2, &crc) && datachk(shared, SIZE, &shared_crc), "contents differ");
    check(all_bytes_are(private + SIZE / 2, 0, SIZE / 2), "untouched page");
    return pass();
}
