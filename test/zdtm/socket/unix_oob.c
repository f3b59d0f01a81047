/* An out-of-band byte in a unix stream. */
#include "sockets.h"

int main(int argc, char **argv) {
    test_init(argc, argv);
    int ends[2];
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
    sends(ends[0], "before");
    must(send(ends[0], "!", 1, MSG_OOB));
    sends(ends[0], "after");
    test_daemon();
    test_waitsig();
    char byte = 0;
    check(recv(ends[1], &byte, 1, MSG_OOB) == 1 && byte == '!', "out-of-band byte is '%c'", byte);
    check(receives(ends[1], "beforeafter"), "stream");
    return pass();
}
