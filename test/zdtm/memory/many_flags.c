/* Thousands of mappings with a flag each: of so many, flags are asked for in another way than of a few. */
#include "zdtm.h"

#define COUNT 6000

static const struct advice {
    int value;
    const char *flag;
} kAdvice[] = {{MADV_NORMAL, "rd"}, {MADV_RANDOM, "rr"}, {MADV_SEQUENTIAL, "sr"}, {MADV_DONTFORK, "dc"}, {MADV_DONTDUMP, "dd"}};
#define KINDS ARRAY_SIZE(kAdvice)

static uint8_t *page_of(uint8_t *memory, size_t i) {
    return memory + 2 * i * PAGE;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    uint8_t *memory = mmap(NULL, 2 * COUNT * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    check(memory != MAP_FAILED, "mmap");
    for (size_t i = 0; i < COUNT; i++) {
        must(mprotect(page_of(memory, i), PAGE, PROT_READ | PROT_WRITE));
        must(madvise(page_of(memory, i), PAGE, kAdvice[i % KINDS].value));
        memcpy(page_of(memory, i), &i, sizeof i);
    }
    must(mlock(page_of(memory, COUNT - 3), PAGE));
    test_daemon();
    test_waitsig();
    for (size_t i = 0; i < COUNT; i++)
        check(!memcmp(page_of(memory, i), &i, sizeof i), "page %zu differs", i);
    for (size_t i = COUNT - KINDS; i < COUNT; i++)
        for (size_t kind = 0; kind < KINDS; kind++)
            check(has_vm_flag(page_of(memory, i), kAdvice[kind].flag) == (kind == 0 || kind == i % KINDS), "page %zu: flag %s", i,
                  kAdvice[kind].flag);
    check(has_vm_flag(page_of(memory, COUNT - 3), "lo"), "the locked page is not locked");
    check(has_vm_flag(page_of(memory, 2) + PAGE, "nr"), "the gaps reserve memory");
    return pass();
}
