/* User and group ids: four of each, different, and supplementary groups. */
#include "zdtm.h"

#include <grp.h>
#include <sys/fsuid.h>

int main(int argc, char **argv) {
    test_init(argc, argv);
    static const gid_t kGroups[] = {5, 77, 1000, 65533, 4000000};
    must(setgroups(ARRAY_SIZE(kGroups), kGroups));
    must(prctl(PR_SET_KEEPCAPS, 1));
    must(setresgid(11, 12, 13));
    must(setresuid(21, 22, 23));
    setfsgid(11);
    setfsuid(23);
    test_daemon();
    test_waitsig();
    uid_t r, e, s;
    check(!getresuid(&r, &e, &s) && r == 21 && e == 22 && s == 23, "user ids %u %u %u", r, e, s);
    check(!getresgid(&r, &e, &s) && r == 11 && e == 12 && s == 13, "group ids %u %u %u", r, e, s);
    check(setfsuid(-1) == 23, "file system user id %d", setfsuid(-1));
    check(setfsgid(-1) == 11, "file system group id %d", setfsgid(-1));
    gid_t groups[10];
    check(getgroups(10, groups) == (int)ARRAY_SIZE(kGroups) && !memcmp(groups, kGroups, sizeof(kGroups)), "groups");
    return pass();
}
