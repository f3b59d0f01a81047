/* A terminal with all its attributes in a child that has only the slave, the parent only the master. */
#include "zdtm.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>

static int master, slave;

static int body(void *unused) {
    (void)unused;
    char text[32] = {0};
    close(master);
    child_wait();
    check(read(slave, text, sizeof(text)) == 6 && !strcmp(text, "hello\n"), "the child reads '%s'", text);
    check(write(slave, "answer\n", 7) == 7, "write");
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    int unlock = 0, number;
    master = must(open("/dev/ptmx", O_RDWR | O_NOCTTY));
    must(ioctl(master, TIOCSPTLCK, &unlock));
    must(ioctl(master, TIOCGPTN, &number));
    char name[64];
    snprintf(name, sizeof(name), "/dev/pts/%d", number);
    slave = must(open(name, O_RDWR | O_NOCTTY));
    pid_t child = spawn(body, NULL);
    close(slave);
    test_daemon();
    test_waitsig();
    char text[64] = {0};
    check(write(master, "hello\n", 6) == 6, "write");
    finish_child(child);
    /* Echo, then the answer; output post-processing adds carriage returns. */
    size_t got = 0;
    struct pollfd fd = {master, POLLIN, 0};
    while (got < 15 && poll(&fd, 1, 2000) == 1 && fd.revents & POLLIN) {
        ssize_t n = read(master, text + got, sizeof(text) - got - 1);
        if (n <= 0)
            break;
        got += n;
    }
    check(!strcmp(text, "hello\r\nanswer\r\n"), "the parent reads '%s'", text);
    check(read(master, text, 1) == -1 && errno == EIO, "the terminal does not hang up with its last user");
    return pass();
}
