/* PR_SET_IO_FLUSHER. */
#include "zdtm.h"

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#define PR_GET_IO_FLUSHER 58
#endif

int main(int argc, char **argv) {
    test_init(argc, argv);
    must(prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0));
    test_daemon();
    test_waitsig();
    check(prctl(PR_GET_IO_FLUSHER, 0, 0, 0, 0) == 1, "attribute is %d", prctl(PR_GET_IO_FLUSHER, 0, 0, 0, 0));
    return pass();
}
