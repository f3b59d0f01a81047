/* Locked memory: mlock, MLOCK_ONFAULT (which must not become eager), and memory that is not locked. */
#include "zdtm.h"

#define SIZE (32 * PAGE)

int main(int argc, char **argv) {
    test_init(argc, argv);
    uint8_t *locked = map_private(SIZE), *on_fault = map_private(256 * PAGE), *plain = map_private(SIZE),
            *part = map_private(SIZE);
    must(madvise(on_fault, 256 * PAGE, MADV_NOHUGEPAGE));
    must(mlock(locked, SIZE));
    must(mlock2(on_fault, 256 * PAGE, 1 /* MLOCK_ONFAULT */));
    on_fault[7 * PAGE] = 7;
    must(mlock(part + 4 * PAGE, 4 * PAGE));
    memset(part, 3, SIZE);
    memset(plain, 4, SIZE);

    test_daemon();
    test_waitsig();

    check(has_vm_flag(locked, "lo") && smaps_kb(locked, "Locked:") == SIZE / 1024, "locked memory: %ld kB",
          smaps_kb(locked, "Locked:"));
    check(has_vm_flag(on_fault, "lo"), "on-fault lock is lost");
    check(smaps_kb(on_fault, "Rss:") <= 64, "on-fault lock has become eager: %ld kB are present",
          smaps_kb(on_fault, "Rss:"));
    on_fault[100 * PAGE] = 1;
    check(on_fault[7 * PAGE] == 7, "contents");
    check(!has_vm_flag(plain, "lo") && !has_vm_flag(part, "lo") && has_vm_flag(part + 5 * PAGE, "lo"),
          "lock of a part");
    return pass();
}
