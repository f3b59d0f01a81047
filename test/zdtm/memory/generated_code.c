/* Code written at run time, one page mapped writable and executable, one made executable later; run before and after.
 */
#include "zdtm.h"

static void emit(uint8_t *at, uint32_t value) {
    at[0] = 0xb8; /* mov $value, %eax; ret */
    memcpy(at + 1, &value, 4);
    at[5] = 0xc3;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    uint8_t *both =
        (void *)must(mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    uint8_t *later = map_private(64 * PAGE);
    for (int i = 0; i < 64; i++) {
        emit(both + i * PAGE + i * 8, i * 3);
        emit(later + i * PAGE + i * 8, i * 5);
    }
    must(mprotect(later, 64 * PAGE, PROT_READ | PROT_EXEC));
    test_daemon();
    /* Runs through the checkpoint too. */
    do
        for (int i = 0; i < 64; i++) {
            check(((uint32_t(*)(void))(both + i * PAGE + i * 8))() == (uint32_t)i * 3, "function %d", i);
            check(((uint32_t(*)(void))(later + i * PAGE + i * 8))() == (uint32_t)i * 5, "function %d", i);
        }
    while (test_go());
    emit(both, 4711);
    check(((uint32_t(*)(void))both)() == 4711, "new code does not run");
    return pass();
}
