/* A program that has put itself under rules of Landlock: a restored one would be free of them, so the dump says. */
#include "zdtm.h"

#include <linux/landlock.h>

int main(int argc, char **argv) {
    test_init(argc, argv);
    struct landlock_ruleset_attr rules = {.handled_access_fs = LANDLOCK_ACCESS_FS_MAKE_SOCK};
    int fd = must(syscall(SYS_landlock_create_ruleset, &rules, sizeof rules, 0));
    must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    must(syscall(SYS_landlock_restrict_self, fd, 0));
    close(fd);
    test_daemon();
    test_waitsig();
    return pass();
}
