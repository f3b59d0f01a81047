/* Files that got another name, or another directory, after they were opened. */
#include "zdtm.h"

int main(int argc, char **argv) {
    test_init(argc, argv);
    must(mkdir(test_dirname, 0700));
    int dir = must(open(test_dirname, O_RDONLY | O_DIRECTORY));
    int fd = must(openat(dir, "first", O_CREAT | O_RDWR, 0600)),
        linked = must(openat(dir, "linked", O_CREAT | O_RDWR, 0600));
    must(renameat(dir, "first", dir, "second"));
    /* Known by one name, opened by another. */
    must(linkat(dir, "linked", dir, "other", 0));
    must(rename(test_dirname, "moved"));
    struct stat before[2], after;
    must(fstat(fd, &before[0]));
    must(fstat(linked, &before[1]));
    test_daemon();
    test_waitsig();
    check(!fstat(fd, &after) && after.st_ino == before[0].st_ino, "renamed file");
    check(!fstat(linked, &after) && after.st_ino == before[1].st_ino && after.st_nlink == 2, "linked file");
    check(faccessat(dir, "second", F_OK, 0) == 0, "directory");
    return pass();
}
