/* Registrations for membarrier: expedited commands go on working. */
#include "zdtm.h"

#include <linux/membarrier.h>

int main(int argc, char **argv) {
    test_init(argc, argv);
    must(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0));
    must(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0));
    must(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0));
    test_daemon();
    test_waitsig();
    check(!syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0), "private registration");
    check(!syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0), "sync-core registration");
    long registered = syscall(SYS_membarrier, 1 << 9 /* GET_REGISTRATIONS */, 0, 0);
    check(registered == -1 || (registered & MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED), "registrations are %#lx",
          registered);
    return pass();
}
