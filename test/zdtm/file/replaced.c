/* A file that was replaced by another one of the same name, as editors and updates do; both are open. */
#include "zdtm.h"

static bool contains(int fd, const char *text) {
    char buffer[64] = {0};
    return pread(fd, buffer, sizeof(buffer) - 1, 0) == (ssize_t)strlen(text) && !strcmp(buffer, text);
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    write_file(test_filename, "the old one", 11);
    int old = must(open(test_filename, O_RDWR));
    uint8_t *map = (void *)must(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, old, 0));
    write_file("temporary", "the new file", 12);
    must(rename("temporary", test_filename));
    int new = must(open(test_filename, O_RDWR));
    test_daemon();
    test_waitsig();
    check(contains(old, "the old one"), "old file");
    check(contains(new, "the new file"), "new file");
    check(!memcmp(map, "the old one", 11), "mapping of the old file");
    struct stat named, opened;
    check(!stat(test_filename, &named) && !fstat(new, &opened) && named.st_ino == opened.st_ino,
          "the name leads to another file");
    check(!fstat(old, &opened) && opened.st_nlink == 0, "the old file has a name");
    return pass();
}
