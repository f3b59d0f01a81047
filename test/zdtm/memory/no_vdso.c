/* A task that has unmapped its vdso, as valgrind does: the agent has to find another place, and none must come back. */
#include "zdtm.h"

#include <sys/auxv.h>

static bool find_vdso(unsigned long *start, unsigned long *end) {
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512];
    bool found = false;
    while (!found && fgets(line, sizeof(line), maps))
        found = strstr(line, "[vdso]") && sscanf(line, "%lx-%lx", start, end) == 2;
    fclose(maps);
    return found;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    unsigned long start, end;
    check(find_vdso(&start, &end), "no vdso");
    must(munmap((void *)start, end - start));
    test_daemon();
    test_waitsig();
    check(!find_vdso(&start, &end), "a vdso has come back");
    check(access("/proc/self/exe", F_OK) == 0, "system calls do not work");
    return pass();
}
