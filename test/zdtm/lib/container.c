/*
 * A small container: starts a program in namespaces of its own and is their init. The flavors of the runner (run
 * --flavor ns, uns) use it.
 *
 *     container ns|uns ROOT PIDFILE DIRECTORY PROGRAM ARGUMENT...
 *
 * PROGRAM runs in DIRECTORY of the root file system ROOT, forks the process under test as every program of the suite
 * does, writes its pid to the file "pid" there and ends. Then the pid of init, as the caller sees it, goes to PIDFILE.
 * Init passes SIGTERM on to the process under test, reaps what loses its parent and ends as that process does.
 * With "uns" all namespaces belong to a user namespace whose ids 0 to 4999999 are the caller's from 100000 on.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const char kMap[] = "0 100000 5000000\n";

static volatile pid_t tested;

static void fail(const char *what) {
    fprintf(stderr, "container: %s: %s\n", what, strerror(errno));
    _exit(1);
}

static void must(long result, const char *what) {
    if (result < 0)
        fail(what);
}

static int count(char **words) {
    int n = 0;
    while (words[n])
        n++;
    return n;
}

static void write_text(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    must(fd, path);
    must(write(fd, text, strlen(text)), path);
    close(fd);
}

static void loopback_up(void) {
    int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq request = {.ifr_name = "lo"};
    must(sock, "socket");
    must(ioctl(sock, SIOCGIFFLAGS, &request), "SIOCGIFFLAGS");
    request.ifr_flags |= IFF_UP;
    must(ioctl(sock, SIOCSIFFLAGS, &request), "SIOCSIFFLAGS");
    close(sock);
}

static void make_mounts(const char *root) {
    must(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), "make mounts private");
    must(mount(root, root, NULL, MS_BIND, NULL), "bind the root");
    must(chdir(root), root);
    must(mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL), "mount proc");
    must(mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620,gid=5"), "mount devpts");
    must(mount("shm", "dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777"), "mount shm");
    must(mount("mqueue", "dev/mqueue", "mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL), "mount mqueue");
    must(mount("sysfs", "sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL), "mount sysfs");
    must(syscall(SYS_pivot_root, ".", "."), "pivot_root");
    must(umount2(".", MNT_DETACH), "leave the old root");
    must(chdir("/"), "/");
}

static void pass_on(int signal) {
    if (tested)
        kill(tested, signal);
}

/* Standard files of the container's own. */
static void redirect(const char *directory) {
    char path[4096];
    snprintf(path, sizeof(path), "%s/init.out", directory);
    int null = open("/dev/null", O_RDONLY), out = open(path, O_CREAT | O_WRONLY | O_APPEND, 0666);
    must(null, "/dev/null");
    must(out, path);
    dup2(null, 0);
    dup2(out, 1);
    dup2(out, 2);
    if (null > 2)
        close(null);
    if (out > 2)
        close(out);
}

static pid_t read_pid(const char *directory) {
    char path[4096], text[32] = "";
    snprintf(path, sizeof(path), "%s/pid", directory);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    must(fd, path);
    must(read(fd, text, sizeof(text) - 1), path);
    close(fd);
    unlink(path);
    return atoi(text);
}

static int wait_for(pid_t pid) {
    int status = 0;
    for (;;) {
        pid_t ended = waitpid(-1, &status, __WALL);
        if (ended == pid)
            return status;
        if (ended < 0 && errno != EINTR)
            _exit(1);
    }
}

/* What init does once it is inside: container inside READY DIRECTORY PROGRAM ARGUMENT... */
static int be_init(char **argv) {
    const int ready = atoi(argv[2]);
    const char *directory = argv[3];
    const char byte = 1;
    must(fcntl(ready, F_SETFD, FD_CLOEXEC), "close-on-exec");
    struct sigaction action = {.sa_handler = pass_on, .sa_flags = SA_RESTART};
    must(sigaction(SIGTERM, &action, NULL), "sigaction");
    pid_t starter = fork();
    must(starter, "fork");
    if (!starter) {
        signal(SIGTERM, SIG_DFL);
        must(chdir(directory), directory);
        execv(argv[4], argv + 4);
        fail(argv[4]);
    }
    int status = wait_for(starter);
    if (status)
        _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
    tested = read_pid(directory);
    redirect(directory);
    must(write(ready, &byte, 1), "say that all is ready");
    close(ready);
    status = wait_for(tested);
    if (!WIFEXITED(status))
        dprintf(1, "the program was ended by signal %d\n", WTERMSIG(status));
    /* An init cannot end by a signal of its own. */
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Its own program has to be one of the container's files: so it is executed again there. */
static void go_inside(char **argv, int gate, int ready) {
    char byte, number[16];
    must(read(gate, &byte, 1) == 1 ? 0 : -1, "wait for the maps");
    must(setresgid(0, 0, 0), "setresgid");
    must(setresuid(0, 0, 0), "setresuid");
    must(setsid(), "setsid");
    must(sethostname("inside", 6), "sethostname");
    loopback_up();
    make_mounts(argv[2]);
    snprintf(number, sizeof(number), "%d", ready);
    must(fcntl(ready, F_SETFD, 0), "keep a descriptor");
    argv[1] = "inside";
    argv[2] = number;
    argv[3] = argv[4];
    memmove(argv + 4, argv + 5, sizeof(*argv) * (size_t)(1 + count(argv + 5)));
    execv("/init", argv);
    fail("/init");
}

static void write_maps(pid_t pid) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/uid_map", pid);
    write_text(path, kMap);
    snprintf(path, sizeof(path), "/proc/%d/gid_map", pid);
    write_text(path, kMap);
}

int main(int argc, char **argv) {
    if (argc > 4 && !strcmp(argv[1], "inside"))
        return be_init(argv);
    if (argc < 6) {
        fprintf(stderr, "usage: container ns|uns ROOT PIDFILE DIRECTORY PROGRAM ARGUMENT...\n");
        return 2;
    }
    int gate[2], ready[2];
    must(pipe2(gate, O_CLOEXEC), "pipe");
    must(pipe2(ready, O_CLOEXEC), "pipe");
    const int own_user = !strcmp(argv[1], "uns");
    struct clone_args how = {.flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS |
                                      (own_user ? CLONE_NEWUSER : 0),
                             .exit_signal = SIGCHLD};
    pid_t init = syscall(SYS_clone3, &how, sizeof(how));
    must(init, "clone3");
    if (!init) {
        close(gate[1]);
        close(ready[0]);
        go_inside(argv, gate[0], ready[1]);
    }
    close(ready[1]);
    close(gate[0]);
    if (own_user)
        write_maps(init);
    char byte = 1, text[32];
    must(write(gate[1], &byte, 1), "write");
    /* Twice: until the other end is closed it is one of the tree's files. */
    if (read(ready[0], &byte, 1) != 1 || read(ready[0], &byte, 1) != 0) {
        int status = 0;
        waitpid(init, &status, 0);
        return WIFEXITED(status) && WEXITSTATUS(status) ? WEXITSTATUS(status) : 1;
    }
    snprintf(text, sizeof(text), "%d\n", init);
    write_text(argv[3], text);
    return 0;
}
