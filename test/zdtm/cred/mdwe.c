/* Memory-deny-write-execute: still refused after restore, and what was executable before stays so. */
#include "abi.h"
#include "zdtm.h"

int main(int argc, char **argv) {
    test_init(argc, argv);
    uint8_t *code = mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(code != MAP_FAILED, "mmap");
    memcpy(code, "\xb8\x2a\x00\x00\x00\xc3", 6); /* mov $42, %eax; ret */
    must(prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0));
    test_daemon();
    test_waitsig();
    check(prctl(PR_GET_MDWE, 0, 0, 0, 0) == PR_MDWE_REFUSE_EXEC_GAIN, "attribute is %d",
          prctl(PR_GET_MDWE, 0, 0, 0, 0));
    void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(mprotect(page, PAGE, PROT_READ | PROT_EXEC) == -1 && errno == EACCES, "writable memory became executable");
    check(((int (*)(void))code)() == 42, "old code does not run");
    return pass();
}
