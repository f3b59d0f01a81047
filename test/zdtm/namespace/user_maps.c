/* A user namespace: which ids it has, who the tasks are in it, what is denied, files of owners without a number there. */
#include "zdtm.h"

#include <grp.h>

static char *text_of(const char *path) {
    static char text[2][512];
    static int turn;
    char *buffer = text[turn ^= 1];
    int fd = must(open(path, O_RDONLY));
    ssize_t n = must(read(fd, buffer, sizeof(text[0]) - 1));
    buffer[n] = 0;
    close(fd);
    return buffer;
}

static int other_user(void *argument) {
    (void)argument;
    gid_t groups[] = {70, 4000}, now[4];
    must(setgroups(2, groups));
    must(setresgid(33, 34, 35));
    must(setresuid(1000, 1001, 1002));
    child_wait();
    uid_t r, e, s;
    must(getresuid(&r, &e, &s));
    check(r == 1000 && e == 1001 && s == 1002, "users %d %d %d", r, e, s);
    must(getresgid(&r, &e, &s));
    check(r == 33 && e == 34 && s == 35, "groups %d %d %d", r, e, s);
    check(getgroups(4, now) == 2 && now[0] == 70 && now[1] == 4000, "%d other groups", getgroups(0, NULL));
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    char *users = strdup(text_of("/proc/self/uid_map")), *groups = strdup(text_of("/proc/self/gid_map"));
    char *setgroups_text = strdup(text_of("/proc/self/setgroups"));
    struct stat before, after;
    must(close(must(open("owned", O_CREAT | O_RDWR, 0600))));
    must(chown("owned", 1234, 5678));
    int file = must(open("owned", O_RDWR));
    must(stat("/proc/sys/kernel/hostname", &before));
    int range = must(open("/proc/sys/net/ipv4/ping_group_range", O_RDWR));
    must(write(range, "30 4000\n", 8));
    pid_t child = spawn(other_user, NULL);
    test_daemon();
    test_waitsig();
    check(!strcmp(users, text_of("/proc/self/uid_map")), "the map of users is %s, not %s", text_of("/proc/self/uid_map"), users);
    check(!strcmp(groups, text_of("/proc/self/gid_map")), "the map of groups is %s, not %s", text_of("/proc/self/gid_map"), groups);
    check(!strcmp(setgroups_text, text_of("/proc/self/setgroups")), "setgroups is %s", text_of("/proc/self/setgroups"));
    must(fstat(file, &after));
    check(after.st_uid == 1234 && after.st_gid == 5678, "the file belongs to %d, %d", after.st_uid, after.st_gid);
    must(stat("/proc/sys/kernel/hostname", &after));
    check(before.st_uid == after.st_uid, "the system's files belong to %d, not %d", after.st_uid, before.st_uid);
    check(!strcmp(text_of("/proc/sys/net/ipv4/ping_group_range"), "30\t4000\n"), "ping_group_range is %s",
          text_of("/proc/sys/net/ipv4/ping_group_range"));
    check(sethostname("allowed", 7) == 0, "no rights over the host name");
    finish_child(child);
    return pass();
}
