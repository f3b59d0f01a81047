/* Descriptors of namespaces. */
#include "zdtm.h"

int main(int argc, char **argv) {
    test_init(argc, argv);
    static const char *const kNames[] = {"net", "mnt", "pid", "uts", "ipc", "user", "cgroup"};
    int fds[ARRAY_SIZE(kNames)];
    struct stat after;
    for (size_t i = 0; i < ARRAY_SIZE(kNames); i++) {
        char path[64];
        snprintf(path, sizeof(path), "/proc/self/ns/%s", kNames[i]);
        fds[i] = must(open(path, O_RDONLY));
    }
    test_daemon();
    test_waitsig();
    for (size_t i = 0; i < ARRAY_SIZE(kNames); i++) {
        char path[64];
        struct stat own;
        snprintf(path, sizeof(path), "/proc/self/ns/%s", kNames[i]);
        check(!fstat(fds[i], &after) && !stat(path, &own) && after.st_ino == own.st_ino, "%s: another namespace", kNames[i]);
    }
    return pass();
}
