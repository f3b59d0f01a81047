/* memfd made of huge pages. */
#include "zdtm.h"

int main(int argc, char **argv) {
    test_init(argc, argv);
    int fd = must(memfd_create("huge", MFD_HUGETLB));
    must(ftruncate(fd, 4 * MIB));
    uint8_t *map = (void *)must(mmap(NULL, 4 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    uint32_t crc = ~0u;
    datagen(map, 2 * MIB, &crc);
    test_daemon();
    test_waitsig();
    struct stat st;
    check(fstat(fd, &st) == 0 && st.st_blksize == 2 * MIB && st.st_size == 4 * MIB, "block size %ld",
          (long)st.st_blksize);
    check(datachk(map, 2 * MIB, &crc) && has_vm_flag(map, "ht"), "contents differ");
    return pass();
}
