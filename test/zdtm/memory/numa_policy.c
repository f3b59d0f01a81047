/* Memory policies of the task and of mappings. */
#include "zdtm.h"

#include <linux/mempolicy.h>

int main(int argc, char **argv) {
    test_init(argc, argv);
    unsigned long nodes = 1, found = 0;
    uint8_t *bound = map_private(8 * PAGE), *plain = map_private(8 * PAGE);
    must(syscall(SYS_mbind, bound, 8 * PAGE, MPOL_BIND, &nodes, 64, 0));
    must(syscall(SYS_set_mempolicy, MPOL_INTERLEAVE, &nodes, 64));
    memset(bound, 1, 8 * PAGE);
    int other = -1;
    must(syscall(SYS_get_mempolicy, &other, NULL, 0, plain, MPOL_F_ADDR));
    test_daemon();
    test_waitsig();
    int mode = -1;
    check(!syscall(SYS_get_mempolicy, &mode, &found, 64, NULL, 0) && mode == MPOL_INTERLEAVE && found == 1,
          "policy of the task: %d", mode);
    check(!syscall(SYS_get_mempolicy, &mode, &found, 64, bound, MPOL_F_ADDR) && mode == MPOL_BIND && found == 1,
          "policy of the mapping: %d", mode);
    check(!syscall(SYS_get_mempolicy, &mode, NULL, 0, plain, MPOL_F_ADDR) && mode == other,
          "policy of other memory: %d", mode);
    check(all_bytes_are(bound, 1, 8 * PAGE), "contents");
    return pass();
}
