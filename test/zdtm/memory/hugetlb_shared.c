/* Shared memory of huge pages in all its forms: anonymous with a child, a System V segment, a file on hugetlbfs, mapped
 * shared and privately. */
#include "zdtm.h"

#include <sys/mount.h>
#include <sys/shm.h>

#define SIZE (2 * MIB)

static uint8_t *map(int flags, int fd) {
    return (void *)must(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, flags, fd, 0));
}

static void look(const uint8_t *memory, uint32_t crc, const char *what) {
    check(has_vm_flag(memory, "ht"), "%s: not of huge pages any more", what);
    check(datachk(memory, SIZE, &crc), "%s: contents differ", what);
}

static int invert(void *memory) {
    child_wait();
    ((uint8_t *)memory)[5] ^= 0xff;
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    must(mkdir(test_dirname, 0700));
    must(mount("none", test_dirname, "hugetlbfs", 0, NULL));
    char path[4096];
    snprintf(path, sizeof(path), "%s/file", test_dirname);
    int fd = must(open(path, O_CREAT | O_RDWR, 0600));
    must(ftruncate(fd, SIZE));
    int id = must(shmget(IPC_PRIVATE, SIZE, IPC_CREAT | SHM_HUGETLB | 0600));
    uint8_t *memory[] = {map(MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB, -1), (void *)must((long)shmat(id, NULL, 0)),
                         map(MAP_SHARED, fd)};
    uint32_t crc[ARRAY_SIZE(memory)];
    for (size_t i = 0; i < ARRAY_SIZE(memory); i++) {
        crc[i] = ~0u;
        datagen(memory[i], SIZE, &crc[i]);
    }
    uint8_t *private = map(MAP_PRIVATE, fd);
    private[0] ^= 1;
    must(shmctl(id, IPC_RMID, NULL));
    pid_t child = spawn(invert, memory[0]);
    test_daemon();
    test_waitsig();
    look(memory[0], crc[0], "anonymous");
    look(memory[1], crc[1], "System V");
    look(memory[2], crc[2], "hugetlbfs");
    check(has_vm_flag(private, "ht") && private[0] == (memory[2][0] ^ 1) && !memcmp(private + 1, memory[2] + 1, SIZE - 1),
          "the private mapping differs");
    const uint8_t before = memory[0][5];
    finish_child(child);
    check((memory[0][5] ^ before) == 0xff, "the child's memory is not shared any more");
    return pass();
}
