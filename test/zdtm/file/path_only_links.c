/* O_PATH descriptors of symbolic links, one that is still there and one that was removed: they are of the links, not of
 * what these lead to, nor of anything in /proc. A removed file and directory opened the same way. */
#include "zdtm.h"

static int open_link(const char *name, const char *target) {
    must(symlink(target, name));
    return must(open(name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
}

static void check_link(int fd, const char *target) {
    char found[64] = "";
    struct stat st;
    check(fstat(fd, &st) == 0 && S_ISLNK(st.st_mode), "fd %d is not a link any more: mode %o", fd, st.st_mode);
    check(readlinkat(fd, "", found, sizeof(found) - 1) == (ssize_t)strlen(target) && !strcmp(found, target),
          "the link leads to \"%s\" instead of \"%s\"", found, target);
    check((fcntl(fd, F_GETFL) & (O_PATH | O_NOFOLLOW)) == (O_PATH | O_NOFOLLOW), "flags %#x", fcntl(fd, F_GETFL));
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    must(mkdir(test_dirname, 0700));
    must(chdir(test_dirname));
    int there = open_link("there", "nowhere"), gone = open_link("gone", "somewhere/else");
    must(unlink("gone"));
    must(close(must(open("file", O_CREAT | O_RDWR, 0640))));
    int file = must(open("file", O_PATH | O_NOFOLLOW));
    must(unlink("file"));
    must(mkdir("directory", 0750));
    int directory = must(open("directory", O_PATH | O_NOFOLLOW | O_DIRECTORY));
    must(rmdir("directory"));
    test_daemon();
    test_waitsig();
    check_link(there, "nowhere");
    check_link(gone, "somewhere/else");
    struct stat st;
    check(fstat(file, &st) == 0 && st.st_mode == (S_IFREG | 0640) && st.st_nlink == 0, "the removed file: mode %o",
          st.st_mode);
    check(fstat(directory, &st) == 0 && st.st_mode == (S_IFDIR | 0750), "the removed directory: mode %o", st.st_mode);
    return pass();
}
