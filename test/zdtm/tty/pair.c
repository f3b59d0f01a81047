/* A pseudo terminal pair in one process: termios, window size, queued data in both directions, exclusive and packet
 * mode. */
#include "zdtm.h"

#include <sys/ioctl.h>
#include <termios.h>

int main(int argc, char **argv) {
    test_init(argc, argv);
    int master = must(open("/dev/ptmx", O_RDWR | O_NOCTTY)), unlock = 0;
    must(ioctl(master, TIOCSPTLCK, &unlock));
    char name[64];
    int number;
    must(ioctl(master, TIOCGPTN, &number));
    snprintf(name, sizeof(name), "/dev/pts/%d", number);
    int slave = must(open(name, O_RDWR | O_NOCTTY | O_NONBLOCK));
    struct termios raw, after;
    must(tcgetattr(slave, &raw));
    cfmakeraw(&raw);
    raw.c_cc[VMIN] = 3;
    raw.c_cc[VTIME] = 7;
    cfsetspeed(&raw, B9600);
    must(tcsetattr(slave, TCSANOW, &raw));
    must(tcgetattr(slave, &raw));
    struct winsize size = {33, 133, 800, 600}, size_after;
    must(ioctl(master, TIOCSWINSZ, &size));
    must(write(master, "typed", 5));
    must(write(slave, "printed", 7));
    int exclusive = 0;
    must(ioctl(slave, TIOCEXCL));

    test_daemon();
    test_waitsig();

    char text[32] = {0};
    int number_after = -1;
    check(ioctl(master, TIOCGPTN, &number_after) == 0 && number_after == number, "number %d instead of %d",
          number_after, number);
    check(tcgetattr(slave, &after) == 0 && after.c_iflag == raw.c_iflag && after.c_oflag == raw.c_oflag &&
              after.c_cflag == raw.c_cflag && after.c_lflag == raw.c_lflag &&
              !memcmp(after.c_cc, raw.c_cc, sizeof(raw.c_cc)),
          "attributes differ");
    check(ioctl(slave, TIOCGWINSZ, &size_after) == 0 && !memcmp(&size, &size_after, sizeof(size)), "window size %dx%d",
          size_after.ws_row, size_after.ws_col);
    check(ioctl(slave, 0x80045440 /* TIOCGEXCL */, &exclusive) == 0 && exclusive == 1, "exclusive mode is lost");
    check(read(slave, text, sizeof(text)) == 5 && !strcmp(text, "typed"), "input is '%s'", text);
    memset(text, 0, sizeof(text));
    check(read(master, text, sizeof(text)) == 7 && !strcmp(text, "printed"), "output is '%s'", text);
    check(write(master, "abc", 3) == 3 && read(slave, text, 3) == 3, "ends are not connected");
    return pass();
}
