/* Files whose names look like what /proc adds or escapes: spaces, newlines, backslashes, " (deleted)", "socket:[1]". */
#include "zdtm.h"

static const char *const kNames[] = {
    "with space", "with\nnewline", "with\\040escape",        "ends (deleted)",
    "socket:[1]", "pipe:[2]",      "anon_inode:[eventpoll]", "\xff\xfe\x01",
    "-n",         "a\tb",
};
#define COUNT ARRAY_SIZE(kNames)

int main(int argc, char **argv) {
    test_init(argc, argv);
    int fds[COUNT];
    uint8_t *maps[COUNT];
    struct stat before[COUNT], after;
    must(mkdir(test_dirname, 0700));
    must(chdir(test_dirname));
    for (size_t i = 0; i < COUNT; i++) {
        fds[i] = must(open(kNames[i], O_CREAT | O_RDWR, 0600));
        must(write(fds[i], kNames[i], strlen(kNames[i])));
        maps[i] = (void *)must(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fds[i], 0));
        must(fstat(fds[i], &before[i]));
    }
    test_daemon();
    test_waitsig();
    for (size_t i = 0; i < COUNT; i++) {
        check(!fstat(fds[i], &after) && after.st_ino == before[i].st_ino, "'%s' is another file", kNames[i]);
        check(lseek(fds[i], 0, SEEK_CUR) == (off_t)strlen(kNames[i]), "'%s': offset", kNames[i]);
        check(!memcmp(maps[i], kNames[i], strlen(kNames[i])), "'%s': mapping", kNames[i]);
    }
    return pass();
}
