/* Time namespaces of tasks below the root: their clocks go on where they were. */
#include "zdtm.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

#define SECOND 1000000000LL

static int64_t *root_clock; /* CLOCK_MONOTONIC, as the root has read it last */

static void check_clocks(long ahead) {
    int64_t difference = now_ns(CLOCK_MONOTONIC) - *root_clock;
    check(difference > (ahead - 60) * SECOND && difference < (ahead + 60) * SECOND, "the clock is %lld ns ahead, not %ld s",
          (long long)difference, ahead);
}

static int companion(void *argument) {
    child_wait();
    check_clocks((long)argument);
    return 0;
}

static int ahead_by(void *argument) {
    const long seconds = (long)argument;
    char text[64];
    must(unshare(CLONE_NEWTIME));
    int fd = must(open("/proc/self/timens_offsets", O_WRONLY));
    must(write(fd, text, snprintf(text, sizeof(text), "monotonic %ld 0\nboottime %ld 5\n", seconds, 2 * seconds)));
    close(fd);
    must(setns(fd = must(open("/proc/self/ns/time_for_children", O_RDONLY)), 0));
    close(fd);
    pid_t with_us = spawn(companion, argument);
    const int64_t before = now_ns(CLOCK_MONOTONIC), boot = now_ns(CLOCK_BOOTTIME);
    child_wait();
    check(now_ns(CLOCK_MONOTONIC) >= before && now_ns(CLOCK_BOOTTIME) >= boot, "a clock has gone back");
    check(now_ns(CLOCK_BOOTTIME) < boot + 600 * SECOND, "the clock of boots has jumped");
    check_clocks(seconds);
    finish_child(with_us);
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    root_clock = map_shared(PAGE);
    *root_clock = now_ns(CLOCK_MONOTONIC);
    pid_t first = spawn(ahead_by, (void *)100000L), second = spawn(ahead_by, (void *)7000L);
    test_daemon();
    test_waitsig();
    *root_clock = now_ns(CLOCK_MONOTONIC);
    finish_child(first);
    finish_child(second);
    return pass();
}
