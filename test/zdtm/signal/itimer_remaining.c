/* A one-shot interval timer keeps its remaining time: it is neither started anew nor early by the time of freezing. */
#include "zdtm.h"

#include <sys/time.h>

static volatile int fired;
static void on_alarm(int number) {
    fired = number;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    signal(SIGALRM, on_alarm);
    struct itimerval value = {{0, 0}, {50, 0}}, now;
    must(setitimer(ITIMER_REAL, &value, NULL));
    int64_t start = now_ns(CLOCK_MONOTONIC);
    sleep_ms(100);
    test_daemon();
    test_waitsig();
    must(getitimer(ITIMER_REAL, &now));
    int64_t left = now.it_value.tv_sec * 1000000000LL + now.it_value.tv_usec * 1000;
    int64_t passed = now_ns(CLOCK_MONOTONIC) - start;
    check(!fired, "the timer has expired");
    check(now.it_interval.tv_sec == 0 && now.it_interval.tv_usec == 0, "the timer has become periodic");
    check(left <= 50000000000 - 100000000 + 1000000, "timer was started anew: %ld ns left", (long)left);
    check(left >= 50000000000 - passed - 1000000, "timer lost time: %ld ns left after %ld", (long)left, (long)passed);
    alarm(0);
    return pass();
}
