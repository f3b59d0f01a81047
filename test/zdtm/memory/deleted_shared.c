/* Shared mappings of a deleted file by several processes that hold no descriptor of it: still one file. */
#include "zdtm.h"

#define SIZE (16 * PAGE)
static uint8_t *memory;

static int body(void *unused) {
    (void)unused;
    child_wait();
    check(memory[3] == 33, "the child does not see the parent's write");
    memory[4] = 44;
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    int fd = must(open(test_filename, O_CREAT | O_RDWR, 0600));
    must(ftruncate(fd, SIZE));
    memory = (void *)must(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    uint32_t crc = ~0u;
    datagen(memory, SIZE, &crc);
    close(fd);
    must(unlink(test_filename));
    pid_t child = spawn(body, NULL);
    test_daemon();
    test_waitsig();
    check(datachk(memory, SIZE, &crc), "contents differ");
    memory[3] = 33;
    finish_child(child);
    check(memory[4] == 44, "the child's write is not seen");
    check(access(test_filename, F_OK) == -1, "the file is back");
    return pass();
}
