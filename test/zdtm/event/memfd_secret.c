/* Secret memory, which only the task itself can read. */
#include "abi.h"
#include "zdtm.h"

int main(int argc, char **argv) {
    test_init(argc, argv);
    int fd = must(syscall(SYS_NR_memfd_secret, 0));
    must(ftruncate(fd, 4 * PAGE));
    uint8_t *map = (void *)must(mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    uint32_t crc = ~0u;
    datagen(map, 4 * PAGE, &crc);
    test_daemon();
    test_waitsig();
    check(datachk(map, 4 * PAGE, &crc), "contents differ");
    check(strstr(fd_path(fd), "secretmem"), "is %s now", fd_path(fd));
    return pass();
}
