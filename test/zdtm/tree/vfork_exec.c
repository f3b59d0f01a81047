/* A program that is nearly always in vfork, as shells and make are at times: a dump has to find it between two
 * children. The child sleeps in its parent's memory before it becomes another program. */
#include "zdtm.h"

int main(int argc, char **argv) {
    test_init(argc, argv);
    test_daemon();
    while (test_go())
        run_in_vfork(10);
    return pass();
}
