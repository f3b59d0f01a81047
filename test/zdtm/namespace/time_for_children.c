/* The time namespace of a task's children, where it is none of the task's own: with children in it, and before the
 * first. */
#include "zdtm.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

#define SECOND 1000000000LL
#define AHEAD 500000L

static int64_t *outer_clock; /* CLOCK_MONOTONIC, as the root has read it last */

static void check_clocks(void) {
    const int64_t ahead = now_ns(CLOCK_MONOTONIC) - *outer_clock;
    check(ahead > (AHEAD - 60) * SECOND && ahead < (AHEAD + 60) * SECOND, "the clock is %lld ns ahead", (long long)ahead);
}

static int child(void *argument) {
    (void)argument;
    child_wait();
    check_clocks();
    return 0;
}

static int maker(void *argument) {
    char text[64];
    const bool early = argument;
    must(unshare(CLONE_NEWTIME));
    int fd = must(open("/proc/self/timens_offsets", O_WRONLY));
    must(write(fd, text, snprintf(text, sizeof(text), "monotonic %ld 0\nboottime %ld 0\n", AHEAD, AHEAD)));
    close(fd);
    pid_t first = early ? spawn(child, NULL) : 0;
    const int64_t before = now_ns(CLOCK_MONOTONIC);
    child_wait();
    check(now_ns(CLOCK_MONOTONIC) < before + 600 * SECOND, "its own clock has jumped");
    if (first)
        finish_child(first);
    pid_t second = must(fork());
    if (second == 0) {
        check_clocks();
        _exit(0);
    }
    expect_wait_status(second, 0);
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    outer_clock = map_shared(PAGE);
    *outer_clock = now_ns(CLOCK_MONOTONIC);
    pid_t with = spawn(maker, "early"), without = spawn(maker, NULL);
    test_daemon();
    test_waitsig();
    *outer_clock = now_ns(CLOCK_MONOTONIC);
    finish_child(with);
    finish_child(without);
    return pass();
}
