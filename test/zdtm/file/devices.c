/* Devices without state: null, zero, full, random, urandom; also under a second name. */
#include "zdtm.h"

#include <sys/sysmacros.h>

int main(int argc, char **argv) {
    test_init(argc, argv);
    int null = must(open("/dev/null", O_RDWR | O_APPEND)), zero = must(open("/dev/zero", O_RDONLY)),
        full = must(open("/dev/full", O_RDWR));
    int random = must(open("/dev/random", O_RDONLY | O_NONBLOCK)),
        urandom = must(open("/dev/urandom", O_RDONLY | O_CLOEXEC));
    char node[4200];
    snprintf(node, sizeof(node), "%s.node", test_filename);
    must(mknod(node, S_IFCHR | 0600, makedev(1, 5)));
    int second = must(open(node, O_RDONLY));
    test_daemon();
    test_waitsig();
    char buffer[64];
    check(write(null, "x", 1) == 1 && read(null, buffer, 1) == 0, "/dev/null");
    check(fcntl(null, F_GETFL) & O_APPEND, "flags of /dev/null");
    memset(buffer, 1, sizeof(buffer));
    check(read(zero, buffer, sizeof(buffer)) == sizeof(buffer) && all_bytes_are(buffer, 0, sizeof(buffer)),
          "/dev/zero");
    check(write(full, "x", 1) == -1 && errno == ENOSPC, "/dev/full");
    check(read(random, buffer, sizeof(buffer)) == sizeof(buffer) && !all_bytes_are(buffer, buffer[0], sizeof(buffer)),
          "/dev/random");
    check(read(urandom, buffer, sizeof(buffer)) == sizeof(buffer) && !all_bytes_are(buffer, buffer[0], sizeof(buffer)),
          "/dev/urandom");
    check(fcntl(urandom, F_GETFD) == FD_CLOEXEC && fcntl(random, F_GETFL) & O_NONBLOCK, "flags");
    check(read(second, buffer, 8) == 8 && all_bytes_are(buffer, 0, 8), "second name of /dev/zero");
    unlink(node);
    return pass();
}
