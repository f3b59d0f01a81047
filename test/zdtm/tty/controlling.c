/* A controlling terminal: session, foreground group, signals from keys and from window changes. */
#include "zdtm.h"

#include <sys/ioctl.h>
#include <termios.h>

static int master, slave;
static volatile int seen[65];
static void on_signal(int number) {
    seen[number]++;
}

static int foreground(void *unused) {
    (void)unused;
    must(setpgid(0, 0));
    signal(SIGINT, on_signal);
    signal(SIGWINCH, on_signal);
    child_ready();
    while (test_go())
        sleep_ms(1);
    check(seen[SIGINT] == 1, "foreground job has got %d interrupts", seen[SIGINT]);
    check(seen[SIGWINCH] == 1, "foreground job has got %d window changes", seen[SIGWINCH]);
    return 0;
}

static int shell(void *unused) {
    (void)unused;
    char name[64];
    int number;
    must(ioctl(master, TIOCGPTN, &number));
    snprintf(name, sizeof(name), "/dev/pts/%d", number);
    must(setsid());
    signal(SIGTTOU, SIG_IGN);
    signal(SIGINT, on_signal);
    signal(SIGHUP, SIG_IGN);
    slave = must(open(name, O_RDWR));
    must(ioctl(slave, TIOCSCTTY, 0));
    close(master);
    pid_t job = spawn(foreground, NULL);
    must(tcsetpgrp(slave, job));
    child_wait();
    check(tcgetpgrp(slave) == job, "foreground group is %d instead of %d", tcgetpgrp(slave), job);
    check(tcgetsid(slave) == getpid(), "session of the terminal is %d", tcgetsid(slave));
    int tty = open("/dev/tty", O_RDWR | O_NOCTTY);
    check(tty >= 0, "no controlling terminal");
    finish_child(job);
    check(seen[SIGINT] == 0, "the shell was interrupted");
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    int unlock = 0;
    master = must(open("/dev/ptmx", O_RDWR | O_NOCTTY));
    must(ioctl(master, TIOCSPTLCK, &unlock));
    pid_t child = spawn(shell, NULL);
    test_daemon();
    test_waitsig();
    check(write(master, "\003", 1) == 1, "write");
    struct winsize size = {10, 20, 0, 0};
    check(ioctl(master, TIOCSWINSZ, &size) == 0, "window size");
    sleep_ms(100);
    finish_child(child);
    return pass();
}
