/* mlockall of what comes later: new mappings after restore are locked at once; on-fault in a child. */
#include "zdtm.h"

#ifndef MCL_ONFAULT
#define MCL_ONFAULT 4
#endif

static bool present(const void *page) {
    return pagemap_entry(page) >> 63;
}

static int body(void *unused) {
    (void)unused;
    must(mlockall(MCL_FUTURE | MCL_ONFAULT));
    child_wait();
    uint8_t *fresh = map_private(16 * PAGE);
    check(has_vm_flag(fresh, "lo"), "child: new memory is not locked");
    check(!present(fresh), "child: the lock is not on fault");
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    pid_t child = spawn(body, NULL);
    must(mlockall(MCL_FUTURE));
    uint8_t *before = map_private(16 * PAGE);
    test_daemon();
    test_waitsig();
    uint8_t *fresh = map_private(16 * PAGE);
    check(has_vm_flag(before, "lo"), "memory from before is not locked");
    check(has_vm_flag(fresh, "lo") && present(fresh) && present(fresh + 15 * PAGE), "new memory is not locked");
    finish_child(child);
    return pass();
}
