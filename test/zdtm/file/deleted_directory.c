/* A deleted directory that is the working directory and is held open. */
#include "zdtm.h"

int main(int argc, char **argv) {
    test_init(argc, argv);
    must(mkdir(test_dirname, 0700));
    int fd = must(open(test_dirname, O_RDONLY | O_DIRECTORY));
    must(chdir(test_dirname));
    char here[4096], after[4096];
    must(rmdir("../test.dir"));
    ssize_t length = must(readlink("/proc/self/cwd", here, sizeof(here) - 1));
    here[length] = 0;
    test_daemon();
    test_waitsig();
    length = must(readlink("/proc/self/cwd", after, sizeof(after) - 1));
    after[length] = 0;
    check(!strcmp(here, after), "working directory is %s instead of %s", after, here);
    struct stat first, second;
    check(fstat(fd, &first) == 0 && stat(".", &second) == 0 && first.st_ino == second.st_ino, "two directories");
    check(open("file", O_CREAT | O_WRONLY, 0600) == -1 && errno == ENOENT, "the directory is alive again");
    check(getcwd(here, sizeof(here)) == NULL && errno == ENOENT, "it has a name");
    return pass();
}
