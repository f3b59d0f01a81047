/* Advice that stays with a mapping: read patterns, fork and dump behaviour, wipe on fork, huge pages, merging. */
#include "zdtm.h"

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

struct advice {
    int value;
    const char *flag;
    bool optional; /* the kernel may lack it */
};
static const struct advice kAdvice[] = {
    {MADV_RANDOM, "rr", false},    {MADV_SEQUENTIAL, "sr", false}, {MADV_DONTFORK, "dc", false},
    {MADV_DONTDUMP, "dd", false},  {MADV_WIPEONFORK, "wf", false}, {MADV_HUGEPAGE, "hg", true},
    {MADV_NOHUGEPAGE, "nh", true}, {MADV_MERGEABLE, "mg", true},
};

int main(int argc, char **argv) {
    test_init(argc, argv);
    uint8_t *memory[ARRAY_SIZE(kAdvice) + 1];
    bool there[ARRAY_SIZE(kAdvice)];
    for (size_t i = 0; i <= ARRAY_SIZE(kAdvice); i++) {
        memory[i] = map_private(8 * PAGE);
        memset(memory[i], i + 1, 8 * PAGE);
        /* A gap, so that neighbours cannot merge. */
        must(munmap(memory[i] + 7 * PAGE, PAGE));
        if (i == ARRAY_SIZE(kAdvice))
            break;
        there[i] = madvise(memory[i], 7 * PAGE, kAdvice[i].value) == 0;
        check(there[i] || kAdvice[i].optional, "madvise %d", kAdvice[i].value);
    }
    test_daemon();
    test_waitsig();
    for (size_t i = 0; i <= ARRAY_SIZE(kAdvice); i++) {
        check(all_bytes_are(memory[i], i + 1, 7 * PAGE), "contents of %zu", i);
        for (size_t j = 0; j < ARRAY_SIZE(kAdvice); j++)
            check(has_vm_flag(memory[i], kAdvice[j].flag) == (i == j && there[j]), "mapping %zu: flag %s", i,
                  kAdvice[j].flag);
    }
    pid_t child = fork();
    if (child == 0) {
        check(!*mapping_perms(memory[2]), "MADV_DONTFORK is not in force");
        check(all_bytes_are(memory[4], 0, 7 * PAGE), "MADV_WIPEONFORK is not in force");
        check(all_bytes_are(memory[8], 9, 7 * PAGE), "plain memory in the child");
        _exit(0);
    }
    expect_wait_status(child, 0);
    return pass();
}
