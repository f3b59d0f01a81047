/* A checkpoint inside nested signal handlers: frames, saved masks and interrupted contexts. */
#include "zdtm.h"

static volatile int depth, deepest;
static volatile double sum = 0.5;

static void handler(int number) {
    double local = number * 1.5;
    depth++;
    if (number == SIGUSR1)
        raise(SIGUSR2);
    else if (number == SIGUSR2)
        raise(40);
    else {
        deepest = depth;
        test_daemon();
        test_waitsig();
    }
    sum += local;
    sigset_t now;
    sigprocmask(SIG_SETMASK, NULL, &now);
    check(sigismember(&now, number) && sigismember(&now, 50), "mask inside the handler of %d", number);
    check(sigismember(&now, SIGUSR1), "mask of the outer handler");
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    struct sigaction action = {.sa_handler = handler};
    sigaddset(&action.sa_mask, 50);
    must(sigaction(SIGUSR1, &action, NULL));
    must(sigaction(SIGUSR2, &action, NULL));
    must(sigaction(40, &action, NULL));
    raise(SIGUSR1);
    check(depth == 3 && deepest == 3, "depth %d", depth);
    check(sum == 0.5 + 1.5 * (SIGUSR1 + SIGUSR2 + 40), "floating point values of the frames");
    sigset_t now;
    sigprocmask(SIG_SETMASK, NULL, &now);
    check(!sigismember(&now, SIGUSR1) && !sigismember(&now, SIGUSR2) && !sigismember(&now, 50), "mask afterwards");
    return pass();
}
