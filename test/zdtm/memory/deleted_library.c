/* Executable mappings of a file that was deleted afterwards, as after an update of a library. */
#include "zdtm.h"

int main(int argc, char **argv) {
    test_init(argc, argv);
    uint8_t page[2 * PAGE];
    memset(page, 0xcc, sizeof(page));
    memcpy(page, "\xb8\x39\x05\x00\x00\xc3", 6); /* mov $1337, %eax; ret */
    write_file(test_filename, page, sizeof(page));
    int fd = must(open(test_filename, O_RDONLY));
    uint8_t *code = (void *)must(mmap(NULL, 2 * PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0));
    uint8_t *data = (void *)must(mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
    close(fd);
    data[PAGE] = 1;
    must(unlink(test_filename));
    test_daemon();
    test_waitsig();
    check(((int (*)(void))code)() == 1337, "code does not run");
    check(data[PAGE] == 1 && !memcmp(data, page, PAGE), "data differ");
    check(access(test_filename, F_OK) == -1, "the deleted file is back");
    return pass();
}
