/* Many pseudo terminals, some without their neighbours and opened in several ways: each gets its number again, and soon
 * (all of them together, not each from the lowest number on). */
#include "zdtm.h"

#include <sys/ioctl.h>
#include <sys/resource.h>

#define COUNT 2000
#define SPARSE 100 /* below this number every third is kept */

static int open_master(int i) {
    int unlock = 0, master = must(open("/dev/ptmx", O_RDWR | O_NOCTTY | (i % 2 ? O_NONBLOCK : 0)));
    must(ioctl(master, TIOCSPTLCK, &unlock));
    return master;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    int masters[COUNT], numbers[COUNT];
    struct rlimit limit;
    must(getrlimit(RLIMIT_NOFILE, &limit));
    limit.rlim_cur = limit.rlim_max;
    must(setrlimit(RLIMIT_NOFILE, &limit));
    for (int i = 0; i < COUNT; i++) {
        masters[i] = open_master(i);
        must(ioctl(masters[i], TIOCGPTN, &numbers[i]));
    }
    for (int i = 0; i < SPARSE; i++)
        if (i % 3)
            must(close(masters[i]));

    test_daemon();
    test_waitsig();

    for (int i = 0; i < COUNT; i++) {
        if (i < SPARSE && i % 3)
            continue;
        int number = -1, flags = fcntl(masters[i], F_GETFL);
        check(ioctl(masters[i], TIOCGPTN, &number) == 0 && number == numbers[i], "terminal %d: number %d instead of %d", i,
              number, numbers[i]);
        check(!(flags & O_NONBLOCK) == !(i % 2), "terminal %d: flags %#o", i, flags);
    }
    return pass();
}
