/* Shared file mappings: writes go to the file before and after, also from a read-only descriptor's view, across two
 * processes, and beyond the end of a file that grows. */
#include "zdtm.h"

#define SIZE (16 * PAGE)

static uint8_t *memory;

static int body(void *unused) {
    (void)unused;
    child_wait();
    check(memory[5 * PAGE] == 55, "the child does not see the parent's write");
    memory[6 * PAGE] = 66;
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    int fd = must(open(test_filename, O_CREAT | O_RDWR, 0644));
    must(ftruncate(fd, SIZE));
    memory = (void *)must(mmap(NULL, 2 * SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    uint8_t *view = (void *)must(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 4 * PAGE));
    int readonly = must(open(test_filename, O_RDONLY));
    uint8_t *never_writable = (void *)must(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, readonly, 4 * PAGE));
    close(readonly);
    uint32_t crc = ~0u;
    datagen(memory, SIZE, &crc);
    pid_t child = spawn(body, NULL);

    test_daemon();
    test_waitsig();

    uint8_t byte;
    check(datachk(memory, SIZE, &crc), "contents differ");
    check(!memcmp(view, memory + 4 * PAGE, PAGE) && !memcmp(never_writable, view, PAGE), "second mapping differs");
    memory[5 * PAGE] = 55;
    check(pread(fd, &byte, 1, 5 * PAGE) == 1 && byte == 55, "a write does not reach the file");
    finish_child(child);
    check(memory[6 * PAGE] == 66, "the child's write is not seen");
    memory[4 * PAGE] = 44;
    check(view[0] == 44, "mappings are not the same memory");
    check(mprotect(never_writable, PAGE, PROT_READ | PROT_WRITE) == -1 && errno == EACCES,
          "read-only file became writable");
    check(ftruncate(fd, 2 * SIZE) == 0, "grow");
    memory[SIZE + 3] = 9;
    check(pread(fd, &byte, 1, SIZE + 3) == 1 && byte == 9, "memory beyond the former end");
    return pass();
}
