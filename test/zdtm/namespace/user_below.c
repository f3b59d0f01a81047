/* User namespaces of tasks below the root, one in another: who they are there, what they may do, and to whom other
 * namespaces belong. */
#include "zdtm.h"

#include <grp.h>
#include <sys/utsname.h>

static void put(const char *path, const char *text) {
    int fd = must(open(path, O_WRONLY));
    must(write(fd, text, strlen(text)));
    close(fd);
}

/* The caller has rights over the ids, the child not. */
static void give_ids(pid_t child, const char *users, const char *groups) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/uid_map", child);
    put(path, users);
    snprintf(path, sizeof(path), "/proc/%d/setgroups", child);
    put(path, "deny");
    snprintf(path, sizeof(path), "/proc/%d/gid_map", child);
    put(path, groups);
}

struct meeting {
    uint32_t made, mapped;
};
static struct meeting *meetings;

static void set(uint32_t *word) {
    __atomic_store_n(word, 1, __ATOMIC_SEQ_CST);
}
static void wait_for(const uint32_t *word) {
    while (!__atomic_load_n(word, __ATOMIC_SEQ_CST))
        sleep_ms(1);
}

/* In a namespace of its own, as its root, with ids that somebody else gives. */
static void enter_new(struct meeting *meeting) {
    must(unshare(CLONE_NEWUSER));
    set(&meeting->made);
    wait_for(&meeting->mapped);
    must(setresgid(0, 0, 0));
    must(setresuid(0, 0, 0));
    must(prctl(PR_SET_DUMPABLE, 1));
}

static void check_name(const char *name) {
    struct utsname names;
    must(uname(&names));
    check(!strcmp(names.nodename, name), "the host is called %s, not %s", names.nodename, name);
}

static int user_of_it(void *argument) {
    (void)argument;
    must(setresgid(7, 7, 7));
    must(setresuid(5, 6, 5));
    child_wait();
    uid_t real, effective, saved;
    getresuid(&real, &effective, &saved);
    check(real == 5 && effective == 6 && saved == 5, "users %d, %d, %d", real, effective, saved);
    check(getgid() == 7, "group %d", getgid());
    check(sethostname("x", 1) < 0 && errno == EPERM, "a user has rights");
    return 0;
}

/* Deeper: of the first one's ids. */
static int deeper(void *argument) {
    (void)argument;
    enter_new(&meetings[1]);
    must(unshare(CLONE_NEWUTS));
    must(sethostname("deeper", 6));
    child_wait();
    check(getuid() == 0 && getgid() == 0, "it is %d:%d", getuid(), getgid());
    char *map = proc_value("/proc/self/uid_map", "         0");
    check(map && atoi(map) == 1, "its ids are those of %s", map ? map : "nobody");
    check_name("deeper");
    check(sethostname("still deeper", 12) == 0, "it has no rights over its host name");
    return 0;
}

static int owner(void *argument) {
    (void)argument;
    enter_new(&meetings[0]);
    must(unshare(CLONE_NEWUTS));
    must(sethostname("owner", 5));
    pid_t user = spawn(user_of_it, NULL);
    fflush(NULL);
    pid_t below = must(fork());
    if (below == 0)
        _exit(deeper(NULL));
    wait_for(&meetings[1].made);
    give_ids(below, "0 1 5\n", "0 1 5\n");
    set(&meetings[1].mapped);
    sleep_ms(50);
    child_wait();
    check(getuid() == 0 && getgid() == 0, "it is %d:%d", getuid(), getgid());
    check_name("owner");
    check(sethostname("still owner", 11) == 0, "it has no rights over its host name");
    check(setgroups(0, NULL) < 0 && errno == EPERM, "it may call setgroups");
    check(chroot("/") == 0, "it has lost a capability");
    finish_child(user);
    finish_child(below);
    return 0;
}

/* Nobody there has a name. */
static int nobody(void *argument) {
    (void)argument;
    must(unshare(CLONE_NEWUSER));
    child_wait();
    check(getuid() == 65534 && getgid() == 65534, "it is %d:%d", getuid(), getgid());
    check(unshare(CLONE_NEWUTS) == 0, "it has lost its rights");
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    meetings = map_shared(PAGE);
    fflush(NULL);
    pid_t first = must(fork());
    if (first == 0)
        _exit(owner(NULL));
    wait_for(&meetings[0].made);
    give_ids(first, "0 100 20\n", "0 200 20\n");
    set(&meetings[0].mapped);
    pid_t second = spawn(nobody, NULL);
    sleep_ms(200);
    struct utsname before, after;
    must(uname(&before));
    test_daemon();
    test_waitsig();
    finish_child(first);
    finish_child(second);
    must(uname(&after));
    check(!strcmp(before.nodename, after.nodename), "a task below has changed our name");
    return pass();
}
