/* A process that computes all the time: registers and flags must survive at any instruction. */
#include "zdtm.h"

static uint64_t step(uint64_t x) {
    x ^= x << 13;
    x ^= x >> 7;
    return x ^ x << 17;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    /* Two sequences, one an expected number of steps behind the other: a lost register makes them differ. */
    uint64_t first = 88172645463325252ULL, second = first;
    unsigned long rounds = 0;
    test_daemon();
    while (test_go() || rounds < 1000) {
        uint64_t before = first;
        for (int i = 0; i < 1000; i++)
            first = step(first);
        for (int i = 0; i < 1000; i++)
            second = step(second);
        check(first == second && first != before, "sequences differ after %lu rounds", rounds);
        rounds++;
    }
    return pass();
}
