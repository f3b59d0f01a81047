/* PR_SET_MEMORY_MERGE: the attribute of the process, and that new mappings get it. */
#include "abi.h"
#include "zdtm.h"

int main(int argc, char **argv) {
    test_init(argc, argv);
    must(prctl(PR_SET_MEMORY_MERGE, 1, 0, 0, 0));
    test_daemon();
    test_waitsig();
    check(prctl(PR_GET_MEMORY_MERGE, 0, 0, 0, 0) == 1, "attribute is %d", prctl(PR_GET_MEMORY_MERGE, 0, 0, 0, 0));
    void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(has_vm_flag(page, "mg"), "new memory is not mergeable");
    return pass();
}
