/* Files of /proc, of oneself, a child, and of a task that is dead. */
#include "zdtm.h"

#include <dirent.h>

static int body(void *unused) {
    (void)unused;
    child_wait();
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    char path[64], text[256] = {0};
    pid_t child = spawn(body, NULL);
    int self = must(open("/proc/self/stat", O_RDONLY)), maps = must(open("/proc/self/maps", O_RDONLY));
    snprintf(path, sizeof(path), "/proc/%d/status", child);
    int other = must(open(path, O_RDONLY));
    int dir = must(open("/proc/self/fd", O_RDONLY | O_DIRECTORY));
    int system = must(open("/proc/sys/kernel/ostype", O_RDONLY));
    must(read(system, text, 3));
    test_daemon();
    test_waitsig();
    check(pread(self, text, sizeof(text) - 1, 0) > 0 && atoi(text) == getpid(), "/proc/self/stat says %.20s", text);
    check(pread(maps, text, 100, 0) == 100, "/proc/self/maps");
    ssize_t length = pread(other, text, sizeof(text) - 1, 0);
    check(length > 0 && strstr(text, "State:"), "status of the child");
    check(faccessat(dir, "0", F_OK, 0) == 0, "/proc/self/fd");
    memset(text, 0, sizeof(text));
    check(read(system, text, 10) > 0 && !strncmp(text, "ux", 2), "position in a sysctl: '%s'", text);
    finish_child(child);
    return pass();
}
