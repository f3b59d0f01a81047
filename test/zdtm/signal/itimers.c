/* Interval timers: remaining time and interval of all three, disarmed ones, and that they go on ticking. */
#include "zdtm.h"

#include <sys/time.h>

static volatile int ticks[65];

static void on_tick(int number) {
    ticks[number]++;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    struct itimerval real = {{0, 20000}, {0, 30000}}, virtual = {{5, 0}, {1000, 500000}},
                     profile = {{0, 10000}, {0, 10000}}, now;
    signal(SIGALRM, on_tick);
    signal(SIGPROF, on_tick);
    signal(SIGVTALRM, on_tick);
    must(setitimer(ITIMER_REAL, &real, NULL));
    must(setitimer(ITIMER_VIRTUAL, &virtual, NULL));
    must(setitimer(ITIMER_PROF, &profile, NULL));
    test_daemon();
    test_waitsig();

    ticks[SIGALRM] = ticks[SIGPROF] = 0;
    must(getitimer(ITIMER_REAL, &now));
    check(now.it_interval.tv_sec == 0 && now.it_interval.tv_usec == 20000, "real interval %ld.%06ld",
          now.it_interval.tv_sec, now.it_interval.tv_usec);
    check(now.it_value.tv_sec == 0 && now.it_value.tv_usec <= 30000 && now.it_value.tv_usec > 0,
          "real timer: %ld us left", now.it_value.tv_usec);
    must(getitimer(ITIMER_VIRTUAL, &now));
    check(now.it_interval.tv_sec == 5 && now.it_value.tv_sec > 900 && now.it_value.tv_sec <= 1000,
          "virtual timer: %ld s left", now.it_value.tv_sec);
    must(getitimer(ITIMER_PROF, &now));
    check(now.it_interval.tv_sec == 0 && now.it_interval.tv_usec >= 10000 && now.it_interval.tv_usec < 20000,
          "profiling interval %ld", now.it_interval.tv_usec);
    int64_t start = now_ns(CLOCK_MONOTONIC);
    while ((ticks[SIGALRM] < 5 || ticks[SIGPROF] < 3) && now_ns(CLOCK_MONOTONIC) - start < 5000000000)
        continue;
    check(ticks[SIGALRM] >= 5, "real timer does not tick");
    check(ticks[SIGPROF] >= 3, "profiling timer does not tick");
    check(ticks[SIGVTALRM] == 0, "virtual timer expired");
    return pass();
}
