/* Protections of memory that a child has inherited: guards beside writable pages, in parent and child the same or not.
 */
#include "zdtm.h"

#define PAGES 24

static uint8_t *same, *narrowed, *widened, *reserved;

static void expect(const uint8_t *memory, const char *who, const char *pattern) {
    static const char *const kTexts[] = {"---p", "r--p", "rw-p"};
    for (int i = 0; i < PAGES; i++) {
        const char *wanted = kTexts[pattern[i] == '-' ? 0 : pattern[i] == 'r' ? 1 : 2];
        check(!strcmp(mapping_perms(memory + i * PAGE), wanted), "%s: page %d is %s instead of %s", who, i,
              mapping_perms(memory + i * PAGE), wanted);
    }
}

static void apply(uint8_t *memory, const char *pattern) {
    for (int i = 0; i < PAGES; i++)
        must(mprotect(memory + i * PAGE, PAGE,
                      pattern[i] == '-'   ? PROT_NONE
                      : pattern[i] == 'r' ? PROT_READ
                                          : PROT_READ | PROT_WRITE));
}

static const char kSame[] = "--wwwwwwrrrrww--wwwwrr--";
static const char kNarrowed[] = "wwwwww------rrrrrrww--ww";
static const char kWidened[] = "wwwwwwwwwwwwwwwwwwwwwwww";
static const char kReserved[] = "www---------------------";

static int body(void *unused) {
    (void)unused;
    apply(narrowed, kNarrowed);
    apply(widened, kWidened);
    widened[3 * PAGE] = 'c';
    child_wait();
    expect(same, "child, same", kSame);
    expect(narrowed, "child, narrowed", kNarrowed);
    expect(widened, "child, widened", kWidened);
    expect(reserved, "child, reserved", kReserved);
    check(widened[3 * PAGE] == 'c' && widened[4 * PAGE] == 3, "contents");
    must(mprotect(same, PAGES * PAGE, PROT_READ));
    for (int i = 0; i < PAGES; i++)
        check(all_bytes_are(same + i * PAGE, 1, PAGE), "page %d differs", i);
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    uint8_t **all[] = {&same, &narrowed, &widened, &reserved};
    for (int i = 0; i < 4; i++) {
        *all[i] = map_private(PAGES * PAGE);
        memset(*all[i], i + 1, i == 3 ? 3 * PAGE : PAGES * PAGE);
    }
    apply(same, kSame);
    apply(widened, kSame);
    apply(reserved, kReserved);
    pid_t child = spawn(body, NULL);
    test_daemon();
    test_waitsig();
    expect(same, "parent, same", kSame);
    expect(narrowed, "parent, narrowed", kWidened);
    expect(widened, "parent, widened", kSame);
    expect(reserved, "parent, reserved", kReserved);
    finish_child(child);
    return pass();
}
