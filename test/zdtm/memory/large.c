/* Four gigabytes of private memory, every page different. */
#include "zdtm.h"

static long megabytes = 4096;
TEST_OPTION(megabytes, LONG, "size of the memory", false)

int main(int argc, char **argv) {
    test_init(argc, argv);
    size_t words = megabytes * MIB / 8;
    uint64_t *memory = map_private(words * 8);
    for (size_t i = 0; i < words; i++)
        memory[i] = (i + 1) * 0x9E3779B97F4A7C15ULL;
    test_daemon();
    test_waitsig();
    for (size_t i = 0; i < words; i++)
        check(memory[i] == (i + 1) * 0x9E3779B97F4A7C15ULL, "word %zu differs", i);
    return pass();
}
