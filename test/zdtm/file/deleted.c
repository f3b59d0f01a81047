/* A deleted file that is still open, by several descriptors, one of them read-only, and mapped: one file, with its
 * contents, mode, owner and times, and no name. */
#include "zdtm.h"

#define SIZE 100000

int main(int argc, char **argv) {
    test_init(argc, argv);
    static uint8_t data[SIZE], buffer[SIZE];
    uint32_t crc = ~0u;
    datagen(data, SIZE, &crc);
    int fd = must(open(test_filename, O_CREAT | O_RDWR, 0640));
    must(write(fd, data, SIZE));
    must(fchown(fd, 1234, 5678));
    must(fchmod(fd, 04751));
    int reader = must(open(test_filename, O_RDONLY));
    must(lseek(reader, 500, SEEK_SET));
    int path = must(open(test_filename, O_PATH));
    uint8_t *map = (void *)must(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    struct stat before, after, again;
    must(unlink(test_filename));
    /* Last: an access time before that of the change is what the next access to the file replaces. */
    struct timespec times[2] = {{1000000000, 123456789}, {1100000000, 987654321}};
    must(futimens(fd, times));
    must(fstat(fd, &before));

    test_daemon();
    test_waitsig();

    must(fstat(fd, &after));
    check(after.st_nlink == 0, "link count is %ld", (long)after.st_nlink);
    check(access(test_filename, F_OK) == -1, "the file has its name back");
    check(after.st_size == SIZE && after.st_mode == before.st_mode, "size %ld, mode %o", (long)after.st_size,
          after.st_mode);
    check(after.st_uid == 1234 && after.st_gid == 5678, "owner %d:%d", after.st_uid, after.st_gid);
    check(after.st_mtim.tv_sec == 1100000000 && after.st_mtim.tv_nsec == 987654321, "modification time");
    check(after.st_atim.tv_sec == 1000000000 && after.st_atim.tv_nsec == 123456789, "access time %ld", (long)after.st_atim.tv_sec);
    check(fstat(reader, &again) == 0 && again.st_ino == after.st_ino && fstat(path, &again) == 0 &&
              again.st_ino == after.st_ino,
          "descriptors refer to different files");
    check(lseek(reader, 0, SEEK_CUR) == 500 && lseek(fd, 0, SEEK_CUR) == SIZE, "offsets");
    check(pread(fd, buffer, SIZE, 0) == SIZE && datachk(buffer, SIZE, &crc), "contents differ");
    check(datachk(map, SIZE, &crc), "mapping differs");
    map[7] ^= 0xff;
    check(pread(reader, buffer, 1, 7) == 1 && buffer[0] == map[7], "mapping and file are different files");
    return pass();
}
