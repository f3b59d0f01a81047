/* Masters without any slave: locked and unlocked, packet mode, with output left by a slave that was closed. */
#include "zdtm.h"

#include <sys/ioctl.h>

int main(int argc, char **argv) {
    test_init(argc, argv);
    int locked = must(open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC)),
        packet = must(open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK));
    int unlock = 0, on = 1, number;
    must(ioctl(packet, TIOCSPTLCK, &unlock));
    must(ioctl(packet, TIOCPKT, &on));
    must(ioctl(packet, TIOCGPTN, &number));
    test_daemon();
    test_waitsig();
    int value = 0, after = -1;
    check(ioctl(locked, 0x80045439 /* TIOCGPTLCK */, &value) == 0 && value == 1, "lock is lost");
    check(ioctl(packet, 0x80045439, &value) == 0 && value == 0, "has been locked");
    check(ioctl(packet, 0x80045438 /* TIOCGPKT */, &value) == 0 && value == 1, "packet mode is lost");
    check(ioctl(packet, TIOCGPTN, &after) == 0 && after == number, "number %d instead of %d", after, number);
    check(fcntl(locked, F_GETFD) == FD_CLOEXEC && fcntl(packet, F_GETFL) & O_NONBLOCK, "flags");
    return pass();
}
