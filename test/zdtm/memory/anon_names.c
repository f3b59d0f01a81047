/* Names of anonymous mappings. */
#include "abi.h"
#include "zdtm.h"

int main(int argc, char **argv) {
    test_init(argc, argv);
    uint8_t *memory = map_private(8 * PAGE);
    must(prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, memory, 4 * PAGE, "a name"));
    test_daemon();
    test_waitsig();
    char key[64];
    snprintf(key, sizeof(key), "%lx-", (unsigned long)memory);
    char *line = proc_value("/proc/self/maps", key);
    check(line && strstr(line, "[anon:a name]"), "mapping: %s", line);
    return pass();
}
