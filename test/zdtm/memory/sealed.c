/* mseal: sealed mappings keep their contents and their seal. */
#include "abi.h"
#include "zdtm.h"

int main(int argc, char **argv) {
    test_init(argc, argv);
    uint8_t *memory = map_private(8 * PAGE), *readonly = map_private(8 * PAGE);
    uint32_t crc = ~0u, readonly_crc = ~0u;
    datagen(memory, 8 * PAGE, &crc);
    datagen(readonly, 8 * PAGE, &readonly_crc);
    must(mprotect(readonly, 8 * PAGE, PROT_READ));
    must(syscall(SYS_NR_mseal, memory, 8 * PAGE, 0));
    must(syscall(SYS_NR_mseal, readonly, 8 * PAGE, 0));
    test_daemon();
    test_waitsig();
    check(datachk(memory, 8 * PAGE, &crc) && datachk(readonly, 8 * PAGE, &readonly_crc), "contents differ");
    check(mprotect(memory, PAGE, PROT_READ) == -1 && errno == EPERM, "seal is not in force");
    check(munmap(readonly, 8 * PAGE) == -1 && errno == EPERM, "seal is not in force");
    memory[0]++;
    return pass();
}
