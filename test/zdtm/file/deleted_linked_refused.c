/* The same without --link-remap: refused, since a hard link would have to be made. */
#include "zdtm.h"

int main(int argc, char **argv) {
    test_init(argc, argv);
    char second[4200];
    snprintf(second, sizeof(second), "%s.second", test_filename);
    int fd = must(open(test_filename, O_CREAT | O_RDWR, 0600));
    must(link(test_filename, second));
    must(unlink(test_filename));
    test_daemon();
    test_waitsig();
    check(write(fd, "x", 1) == 1, "write");
    return pass();
}
