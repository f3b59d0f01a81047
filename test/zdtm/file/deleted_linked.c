/* A file whose name was deleted while another hard link to it remains (--link-remap): the same file comes back, not a
 * copy, and the help of the tool leaves no name behind. */
#include "zdtm.h"

#include <dirent.h>

static int names_in(const char *path) {
    int count = 0;
    DIR *dir = opendir(path);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count - 2;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    must(mkdir(test_dirname, 0755));
    char first[4200], second[4200];
    snprintf(first, sizeof(first), "%s/first", test_dirname);
    snprintf(second, sizeof(second), "%s/second", test_dirname);
    int fd = must(open(first, O_CREAT | O_RDWR, 0600));
    must(write(fd, "contents", 8));
    must(link(first, second));
    must(unlink(first));
    struct stat before, after;
    must(stat(second, &before));
    test_daemon();
    test_waitsig();
    must(fstat(fd, &after));
    check(after.st_ino == before.st_ino && after.st_dev == before.st_dev, "another file");
    check(after.st_nlink == 1, "link count is %ld", (long)after.st_nlink);
    check(access(first, F_OK) == -1, "the deleted name is back");
    check(names_in(test_dirname) == 1, "%d names are in the directory", names_in(test_dirname));
    char text[9] = {0};
    check(pread(fd, text, 8, 0) == 8 && !strcmp(text, "contents"), "contents");
    return pass();
}
