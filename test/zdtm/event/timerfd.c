/* timerfd: clocks, remaining times, intervals, absolute times, expirations not yet read, disarmed ones. */
#include "zdtm.h"

#include <sys/timerfd.h>

static const clockid_t kClocks[] = {CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME};

static void expect(int fd, time_t interval, time_t low, time_t high) {
    struct itimerspec now;
    must(timerfd_gettime(fd, &now));
    check(now.it_interval.tv_sec == interval, "interval %ld instead of %ld", now.it_interval.tv_sec, interval);
    check(now.it_value.tv_sec >= low && now.it_value.tv_sec <= high, "%ld s left, not %ld to %ld", now.it_value.tv_sec,
          low, high);
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    int relative[3], absolute[3], ticking[3], disarmed[3];
    for (int i = 0; i < 3; i++) {
        relative[i] = must(timerfd_create(kClocks[i], TFD_CLOEXEC));
        absolute[i] = must(timerfd_create(kClocks[i], TFD_NONBLOCK));
        ticking[i] = must(timerfd_create(kClocks[i], TFD_NONBLOCK));
        disarmed[i] = must(timerfd_create(kClocks[i], TFD_NONBLOCK));
        must(timerfd_settime(relative[i], 0, &(struct itimerspec){{7, 0}, {1000, 0}}, NULL));
        time_t now = now_ns(kClocks[i]) / 1000000000;
        must(timerfd_settime(absolute[i], TFD_TIMER_ABSTIME, &(struct itimerspec){{0, 0}, {now + 2000, 0}}, NULL));
        must(timerfd_settime(ticking[i], 0, &(struct itimerspec){{0, 5000000}, {0, 5000000}}, NULL));
    }
    sleep_ms(100); /* at least 15 ticks */
    test_daemon();
    test_waitsig();
    for (int i = 0; i < 3; i++) {
        uint64_t ticks = 0;
        check(fcntl(relative[i], F_GETFD) == FD_CLOEXEC && fcntl(absolute[i], F_GETFL) & O_NONBLOCK, "flags");
        expect(relative[i], 7, 900, 1000);
        expect(absolute[i], 0, 1900, 2000);
        expect(disarmed[i], 0, 0, 0);
        check(read(ticking[i], &ticks, 8) == 8 && ticks >= 15, "clock %d: %lu expirations", kClocks[i], ticks);
        for (int j = 0; j < 1000 && read(ticking[i], &ticks, 8) == -1; j++)
            sleep_ms(1);
        check(ticks >= 1, "clock %d does not tick", kClocks[i]);
        check(read(disarmed[i], &ticks, 8) == -1 && errno == EAGAIN, "the disarmed timer has expired");
    }
    return pass();
}
