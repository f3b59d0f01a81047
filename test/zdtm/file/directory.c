/* Open directories: fstat, a read position in the middle, and *at() calls relative to them. */
#include "zdtm.h"

#include <dirent.h>

#define ENTRIES 400

static char seen[ENTRIES];

static void note(const struct dirent *entry) {
    if (entry->d_name[0] == '.')
        return;
    int number = atoi(entry->d_name);
    check(!seen[number], "entry %d is listed twice", number);
    seen[number] = 1;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    must(mkdir(test_dirname, 0750));
    int dir = must(open(test_dirname, O_RDONLY | O_DIRECTORY));
    for (int i = 0; i < ENTRIES; i++) {
        char name[300];
        /* Long names: several reads of the kernel are needed for all. */
        snprintf(name, sizeof(name), "%d-%0200d", i, i);
        close(must(openat(dir, name, O_CREAT | O_WRONLY, 0600)));
    }
    int path = must(open(test_dirname, O_PATH | O_CLOEXEC));
    DIR *stream = opendir(test_dirname);
    for (int i = 0; i < ENTRIES / 3; i++)
        note(readdir(stream));
    char raw[4096];
    int partial = must(open(test_dirname, O_RDONLY));
    must(syscall(SYS_getdents64, partial, raw, sizeof(raw)));
    off_t position = lseek(partial, 0, SEEK_CUR);

    test_daemon();
    test_waitsig();

    const struct dirent *entry;
    while ((entry = readdir(stream)))
        note(entry);
    check(all_bytes_are(seen, 1, ENTRIES), "entries are missing");
    check(lseek(partial, 0, SEEK_CUR) == position, "position %#lx instead of %#lx", (long)lseek(partial, 0, SEEK_CUR),
          (long)position);
    check(fcntl(path, F_GETFL) & O_PATH && read(path, raw, 1) == -1 && errno == EBADF, "O_PATH is lost");
    check(fcntl(path, F_GETFD) == FD_CLOEXEC, "close-on-exec");
    check(mkdirat(path, "sub", 0700) == 0 && faccessat(dir, "sub", F_OK, 0) == 0, "directories are not the same");
    return pass();
}
