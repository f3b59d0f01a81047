/* Deleted files whose directory was deleted too, several levels. */
#include "zdtm.h"

int main(int argc, char **argv) {
    test_init(argc, argv);
    must(mkdir("a", 0700));
    must(mkdir("a/b", 0700));
    must(mkdir("a/b/c", 0700));
    int fd = must(open("a/b/c/file", O_CREAT | O_RDWR, 0600)), dir = must(open("a/b", O_RDONLY | O_DIRECTORY));
    must(write(fd, "contents", 8));
    must(unlink("a/b/c/file"));
    must(rmdir("a/b/c"));
    must(rmdir("a/b"));
    must(rmdir("a"));
    test_daemon();
    test_waitsig();
    char text[9] = {0};
    check(pread(fd, text, 8, 0) == 8 && !strcmp(text, "contents"), "contents");
    check(access("a", F_OK) == -1, "the directory is back");
    struct stat st;
    check(!fstat(dir, &st) && S_ISDIR(st.st_mode) && openat(dir, "x", O_CREAT | O_RDWR, 0600) == -1,
          "deleted directory");
    return pass();
}
