/* MAP_DROPPABLE memory comes back empty, so that two clones do not share the random state in it; its kind is kept. */
#include "abi.h"
#include "zdtm.h"

int main(int argc, char **argv) {
    test_init(argc, argv);
    uint8_t *memory = (void *)must(mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_DROPPABLE | MAP_ANONYMOUS, -1, 0));
    memset(memory, 5, 8 * PAGE);
    test_daemon();
    test_waitsig();
    check(has_vm_flag(memory, "dp"), "the memory is not droppable any more");
    for (int i = 0; i < 8; i++)
        check(all_bytes_are(memory + i * PAGE, 0, PAGE), "page %d is not empty", i);
    memset(memory, 6, 8 * PAGE);
    return pass();
}
