/* An established connection without --tcp-established: refused by name. */
#include "sockets.h"

int main(int argc, char **argv) {
    test_init(argc, argv);
    int ends[2];
    close(tcp_pair(AF_INET, ends));
    test_daemon();
    test_waitsig();
    check(sends(ends[0], "x") && receives(ends[1], "x"), "connection");
    return pass();
}
