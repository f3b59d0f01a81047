/* A deleted sparse file, gigabytes long with little in it: it comes back with its holes. */
#include "zdtm.h"

#define LENGTH (8L << 30)

static const off_t kPlaces[] = {0, 1 << 20, 5L << 30, LENGTH - 4096};

int main(int argc, char **argv) {
    test_init(argc, argv);
    int fd = must(open(test_filename, O_CREAT | O_RDWR, 0600));
    static uint8_t data[4096], buffer[4096];
    datagen(data, sizeof(data), NULL);
    must(ftruncate(fd, LENGTH));
    for (size_t i = 0; i < ARRAY_SIZE(kPlaces); i++)
        must(pwrite(fd, data, sizeof(data), kPlaces[i]));
    must(unlink(test_filename));
    struct stat before, after;
    must(fstat(fd, &before));
    test_daemon();
    test_waitsig();
    must(fstat(fd, &after));
    check(after.st_size == LENGTH, "size %ld", (long)after.st_size);
    check(after.st_blocks <= before.st_blocks + 64, "%ld blocks instead of %ld", (long)after.st_blocks,
          (long)before.st_blocks);
    for (size_t i = 0; i < ARRAY_SIZE(kPlaces); i++)
        check(pread(fd, buffer, sizeof(buffer), kPlaces[i]) == 4096 && !memcmp(buffer, data, 4096), "data at %ld",
              (long)kPlaces[i]);
    check(pread(fd, buffer, 4096, 3L << 30) == 4096 && all_bytes_are(buffer, 0, 4096), "hole");
    check(lseek(fd, 0, SEEK_HOLE) < 1 << 20, "no hole where one was");
    return pass();
}
