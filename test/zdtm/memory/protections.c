/* Memory that cannot be read or written: PROT_NONE, read-only, write-only and execute-only pages with contents. */
#include "zdtm.h"

static const int kProtections[] = {
    PROT_NONE, PROT_READ, PROT_WRITE, PROT_EXEC, PROT_READ | PROT_EXEC, PROT_READ | PROT_WRITE | PROT_EXEC};
static const char *const kTexts[] = {"---p", "r--p", "-w-p", "--xp", "r-xp", "rwxp"};
#define COUNT ARRAY_SIZE(kProtections)
#define SIZE (9 * PAGE)

int main(int argc, char **argv) {
    test_init(argc, argv);
    uint8_t *memory[COUNT];
    uint32_t crc[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        memory[i] = map_private(SIZE);
        crc[i] = ~0u;
        datagen(memory[i], SIZE, &crc[i]);
        must(mprotect(memory[i], SIZE, kProtections[i]));
    }
    uint8_t *striped = map_private(64 * PAGE);
    memset(striped, 'a', 64 * PAGE);
    for (int i = 0; i < 64; i += 2)
        must(mprotect(striped + i * PAGE, PAGE, i % 4 ? PROT_NONE : PROT_READ));

    test_daemon();
    test_waitsig();

    for (size_t i = 0; i < COUNT; i++) {
        /* Adding a key for execute-only memory may change nothing else. */
        check(!strcmp(mapping_perms(memory[i]), kTexts[i]), "protection %s instead of %s", mapping_perms(memory[i]),
              kTexts[i]);
        must(mprotect(memory[i], SIZE, PROT_READ));
        check(datachk(memory[i], SIZE, &crc[i]), "contents of %s memory differ", kTexts[i]);
    }
    for (int i = 0; i < 64; i++) {
        const char *wanted = i % 2 ? "rw-p" : i % 4 ? "---p" : "r--p";
        check(!strcmp(mapping_perms(striped + i * PAGE), wanted), "page %d: %s", i, mapping_perms(striped + i * PAGE));
    }
    must(mprotect(striped, 64 * PAGE, PROT_READ | PROT_WRITE));
    check(all_bytes_are(striped, 'a', 64 * PAGE), "striped memory differs");
    return pass();
}
