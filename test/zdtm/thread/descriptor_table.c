/* A local descriptor table, which images cannot hold: refused, and the segment is still there. */
#include "zdtm.h"

#include <asm/ldt.h>

int main(int argc, char **argv) {
    test_init(argc, argv);
    static int word = 0x1d7;
    struct user_desc segment = {.entry_number = 3, .base_addr = 0x1000, .limit = 1, .seg_32bit = 1, .limit_in_pages = 1, .useable = 1};
    unsigned char table[8 * 8] = {0};
    must(syscall(SYS_modify_ldt, 1, &segment, sizeof(segment)));
    test_daemon();
    test_waitsig();
    check(syscall(SYS_modify_ldt, 0, table, sizeof(table)) == sizeof(table), "the table has another size");
    check(table[3 * 8 + 3] == 0x10, "the segment begins elsewhere");
    return word == 0x1d7 ? pass() : 1;
}
