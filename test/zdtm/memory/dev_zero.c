/* Mappings of /dev/zero, private and shared (the latter is memory shared with a child). */
#include "zdtm.h"

#define SIZE (16 * PAGE)

static uint8_t *shared, *private;
static uint32_t crc = ~0u, private_crc = ~0u;

static int body(void *unused) {
    (void)unused;
    child_wait();
    check(datachk(private, SIZE, &private_crc), "the child's private memory differs");
    check(shared[PAGE] == 11, "the child does not see the parent's write");
    shared[2 * PAGE] = 22;
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    int fd = must(open("/dev/zero", O_RDWR));
    shared = (void *)must(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    private = (void *)must(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
    close(fd);
    datagen(shared, SIZE, &crc);
    datagen(private, SIZE, &private_crc);
    pid_t child = spawn(body, NULL);
    test_daemon();
    test_waitsig();
    check(datachk(shared, SIZE, &crc) && datachk(private, SIZE, &private_crc), "contents differ");
    shared[PAGE] = 11;
    finish_child(child);
    check(shared[2 * PAGE] == 22, "the child's write is not seen");
    return pass();
}
