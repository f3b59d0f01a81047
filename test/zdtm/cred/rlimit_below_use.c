/* Limits that are lower than what is in use already: descriptors, stack, address space, locked memory. */
#include "zdtm.h"

#include <sys/resource.h>

int main(int argc, char **argv) {
    test_init(argc, argv);
    must(dup2(0, 500));
    void *locked = mmap(NULL, 4 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(mlock(locked, 4 * MIB));
    must(setrlimit(RLIMIT_NOFILE, &(struct rlimit){8, 16}));
    must(setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){0, 0}));
    must(setrlimit(RLIMIT_STACK, &(struct rlimit){16384, 16384}));
    must(setrlimit(RLIMIT_FSIZE, &(struct rlimit){1 << 20, 1 << 20}));
    must(setrlimit(RLIMIT_NPROC, &(struct rlimit){1, 1}));
    must(setrlimit(RLIMIT_SIGPENDING, &(struct rlimit){0, 0}));
    must(setrlimit(RLIMIT_AS, &(struct rlimit){64 << 20, 64 << 20}));
    test_daemon();
    test_waitsig();
    struct rlimit now;
    check(fcntl(500, F_GETFD) != -1, "descriptor above the limit is lost");
    check(has_vm_flag(locked, "lo"), "memory is not locked");
    must(getrlimit(RLIMIT_AS, &now));
    check(now.rlim_cur == 64 << 20 && now.rlim_max == 64 << 20, "limit of the address space");
    must(getrlimit(RLIMIT_NPROC, &now));
    check(now.rlim_cur == 1 && now.rlim_max == 1, "limit of processes");
    must(getrlimit(RLIMIT_STACK, &now));
    check(now.rlim_cur == 16384, "limit of the stack");
    return pass();
}
