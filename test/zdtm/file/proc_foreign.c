/* A file in /proc of a process outside of the tree: opened again by its path, at its position. */
#include "zdtm.h"

int main(int argc, char **argv) {
    test_init(argc, argv);
    char before[64] = "", after[64] = "";
    int fd = must(open("/proc/1/status", O_RDONLY));
    must((int)read(fd, before, 5));
    test_daemon();
    test_waitsig();
    check(read(fd, after, sizeof after - 1) > 0, "it cannot be read");
    check(!memcmp(before, "Name:", 5) && after[0] == '\t', "not at its position: %.10s", after);
    return pass();
}
