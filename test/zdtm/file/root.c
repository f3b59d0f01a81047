/* A child with another root directory (chroot) and a working directory outside of it. */
#include "zdtm.h"

static int body(void *unused) {
    (void)unused;
    char text[4096];
    must(chroot(test_dirname));
    must(chdir("/"));
    int fd = must(open("/inside", O_CREAT | O_RDWR, 0600));
    child_wait();
    check(access("/inside", F_OK) == 0 && access("/etc", F_OK) == -1, "root directory is another one");
    check(getcwd(text, sizeof(text)) && !strcmp(text, "/"), "working directory is %s", text);
    check(write(fd, "x", 1) == 1, "write");
    return 0;
}

static int outside(void *unused) {
    (void)unused;
    must(chroot(test_dirname));
    child_wait();
    check(access("/etc", F_OK) == -1 && access("test.dir", F_OK) == 0, "root or working directory is another one");
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    must(mkdir(test_dirname, 0755));
    pid_t first = spawn(body, NULL), second = spawn(outside, NULL);
    test_daemon();
    test_waitsig();
    check(access("/etc", F_OK) == 0 && access(test_dirname, F_OK) == 0, "the parent's root or working directory");
    finish_child(first);
    finish_child(second);
    return pass();
}
