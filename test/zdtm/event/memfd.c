/* memfd: name, contents, size, seals, offset; mapped shared and private, shared with a child, opened a second time. */
#include "zdtm.h"

#define SIZE (20 * PAGE)

static int shared;
static uint8_t *map;

static int body(void *unused) {
    (void)unused;
    child_wait();
    check(map[5] == 50, "the child does not see the parent's write");
    check(pwrite(shared, "c", 1, 6) == 1, "write");
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    static uint8_t data[SIZE];
    uint32_t crc = ~0u;
    datagen(data, SIZE, &crc);
    shared = must(memfd_create("shared memory", MFD_CLOEXEC));
    must(write(shared, data, SIZE));
    must(ftruncate(shared, 100 * PAGE));
    must(lseek(shared, 77, SEEK_SET));
    map = (void *)must(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, shared, 0));
    uint8_t *private = (void *)must(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, shared, 0));
    private[3 * PAGE] ^= 0xff;
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", shared);
    int reader = must(open(path, O_RDONLY));
    must(lseek(reader, 99, SEEK_SET));
    /* Only mapped, no descriptor. */
    int fd = must(memfd_create("only mapped", 0));
    must(ftruncate(fd, SIZE));
    uint8_t *only_mapped = (void *)must(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    memcpy(only_mapped, data, SIZE);
    close(fd);
    int sealed = must(memfd_create("sealed", MFD_ALLOW_SEALING));
    must(write(sealed, "sealed", 6));
    must(fcntl(sealed, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE));
    pid_t child = spawn(body, NULL);

    test_daemon();
    test_waitsig();

    struct stat st;
    check(!strcmp(fd_path(shared), "/memfd:shared memory (deleted)"), "name is %s", fd_path(shared));
    check(fcntl(shared, F_GETFD) == FD_CLOEXEC, "close-on-exec");
    check(fstat(shared, &st) == 0 && st.st_size == 100 * (off_t)PAGE && st.st_blocks <= 21 * 8, "size %ld, blocks %ld",
          (long)st.st_size, (long)st.st_blocks);
    check(lseek(shared, 0, SEEK_CUR) == 77 && lseek(reader, 0, SEEK_CUR) == 99, "offsets");
    check(datachk(map, SIZE, &crc) && datachk(only_mapped, SIZE, &crc), "contents differ");
    check((private[3 * PAGE] ^ data[3 * PAGE]) == 0xff && !memcmp(private, data, 3 * PAGE), "private mapping differs");
    check((fcntl(reader, F_GETFL) & O_ACCMODE) == O_RDONLY, "second descriptor");
    check(fcntl(shared, F_GET_SEALS) == F_SEAL_SEAL, "seals of the first: %#x", fcntl(shared, F_GET_SEALS));
    check(fcntl(sealed, F_GET_SEALS) == (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE), "seals: %#x",
          fcntl(sealed, F_GET_SEALS));
    check(pwrite(sealed, "x", 1, 0) == -1 && errno == EPERM, "seal is not in force");
    map[5] = 50;
    check(pread(reader, data, 1, 5) == 1 && data[0] == 50, "second descriptor is another file");
    finish_child(child);
    check(map[6] == 'c', "the child's write is not seen");
    return pass();
}
