/* What a container manager in a container makes: a user namespace that owns a pid namespace with a /proc of its own,
 * mounts, a network, ipc and a host name. */
#include "zdtm.h"

#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/shm.h>

static void put(const char *path, const char *text) {
    int fd = must(open(path, O_WRONLY));
    must(write(fd, text, strlen(text)));
    close(fd);
}

static void check_self(void) {
    char link[32] = "", number[32];
    snprintf(number, sizeof(number), "%d", getpid());
    check(readlink("/proc/self", link, sizeof(link) - 1) > 0 && !strcmp(link, number), "/proc/self is %s, not %s", link,
          number);
}

static int member(void *argument) {
    const pid_t self = getpid(), parent = getppid(), session = argument ? must(setsid()) : getsid(0);
    child_wait();
    check(getpid() == self && getppid() == parent && getsid(0) == session, "it is called %d, below %d, in session %d",
          getpid(), getppid(), getsid(0));
    check_self();
    return 0;
}

static int init(void *argument) {
    (void)argument;
    check(getpid() == 1, "the first one is called %d", getpid());
    must(mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL));
    must(mount("none", "own", "tmpfs", 0, "mode=700"));
    put("/proc/self/oom_score_adj", "300");
    int file = must(open("own/file", O_CREAT | O_RDWR, 0600));
    must(write(file, "sandbox", 7));
    must(sethostname("sandbox", 7));
    int segment = must(shmget(0x5a, PAGE, IPC_CREAT | 0600)), queue = must(msgget(0x5b, IPC_CREAT | 0600));
    char *memory = shmat(segment, NULL, 0);
    check(memory != (char *)-1, "shmat");
    strcpy(memory, "shared");
    pid_t first = spawn(member, NULL), second = spawn(member, "session");
    child_wait();
    check(getpid() == 1 && getppid() == 0, "the init is called %d, below %d", getpid(), getppid());
    check(getuid() == 0, "it is %d", getuid());
    check_self();
    char text[8] = "";
    check(pread(file, text, 7, 0) == 7 && !strcmp(text, "sandbox"), "the file holds \"%s\"", text);
    check(access("own/file", F_OK) == 0, "the file has no name");
    check(!strcmp(memory, "shared") && shmget(0x5a, 0, 0) == segment, "the segment is another one");
    check(msgget(0x5b, 0) == queue, "the queue is another one");
    check(mount("again", "own", "tmpfs", 0, NULL) == 0, "it may not mount any more");
    check(mount("proc", "own", "proc", 0, NULL) == 0, "it has no rights over its pid namespace");
    check(sethostname("again", 5) == 0, "it has no rights over its host name");
    pid_t now = must(fork());
    if (now == 0)
        _exit(getpid() > 3 && getppid() == 1 ? 0 : 1);
    expect_wait_status(now, 0);
    finish_child(first);
    finish_child(second);
    return 0;
}

static int manager(void *argument) {
    (void)argument;
    const pid_t self = getpid();
    must(setsid());
    must(unshare(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET));
    put("/proc/self/setgroups", "deny");
    put("/proc/self/uid_map", "0 0 1\n");
    put("/proc/self/gid_map", "0 0 1\n");
    must(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
    pid_t child = spawn(init, NULL);
    child_wait();
    check(getpid() == self, "it is called %d, not %d", getpid(), self);
    finish_child(child);
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    must(mkdir("own", 0700));
    pid_t child = spawn(manager, NULL);
    test_daemon();
    test_waitsig();
    finish_child(child);
    check(access("own/file", F_OK) < 0, "a mount of the sandbox is the root's");
    return pass();
}
