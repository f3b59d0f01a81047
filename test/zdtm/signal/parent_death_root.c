/* The parent-death signal of the root: kept, and not sent because the restore itself ends (the root's parent is the one
 * that it was left to long ago). */
#include "zdtm.h"

static volatile int told;
static void on_death(int number) {
    told = number;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    signal(SIGUSR2, on_death);
    pid_t starter = getppid();
    test_daemon();
    while (getppid() == starter) /* it ends now */
        sleep_ms(1);
    must(prctl(PR_SET_PDEATHSIG, SIGUSR2));
    test_waitsig();
    sleep_ms(50);
    int found = -1;
    must(prctl(PR_GET_PDEATHSIG, &found));
    check(found == SIGUSR2, "signal is %d", found);
    check(!told, "the signal was sent");
    return pass();
}
