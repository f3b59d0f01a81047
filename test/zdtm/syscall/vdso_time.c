/* Clocks read through the vdso in a loop, across the checkpoint: they never run backwards and stay near the kernel's.
 */
#include "zdtm.h"

#include <pthread.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/time.h>

static volatile bool running, stop;

static int64_t by_syscall(clockid_t clock) {
    struct timespec time;
    syscall(SYS_clock_gettime, clock, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void *body(void *argument) {
    static const clockid_t kClocks[] = {CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_MONOTONIC_RAW, CLOCK_MONOTONIC_COARSE};
    int64_t last[ARRAY_SIZE(kClocks)] = {0};
    running = true;
    while (!stop) {
        for (size_t i = 0; i < ARRAY_SIZE(kClocks); i++) {
            int64_t now = now_ns(kClocks[i]);
            check(now >= last[i], "clock %d ran backwards by %ld ns", kClocks[i], (long)(last[i] - now));
            last[i] = now;
        }
        unsigned cpu;
        check(getcpu(&cpu, NULL) == 0 && cpu < 4096, "getcpu says %u", cpu);
    }
    return argument;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    pthread_t thread;
    unsigned long vdso = getauxval(AT_SYSINFO_EHDR);
    must(pthread_create(&thread, NULL, body, NULL) ? -1 : 0);
    while (!running)
        sched_yield(); /* a thread that is being started changes its mask on the way */
    test_daemon();
    while (test_go())
        now_ns(CLOCK_MONOTONIC);
    stop = true;
    pthread_join(thread, NULL);
    check(getauxval(AT_SYSINFO_EHDR) == vdso && !memcmp((void *)vdso, "\177ELF", 4), "the vdso is not where it was");
    int64_t before = by_syscall(CLOCK_MONOTONIC), middle = now_ns(CLOCK_MONOTONIC), after = by_syscall(CLOCK_MONOTONIC);
    check(before <= middle && middle <= after, "vdso and kernel disagree");
    struct timeval time;
    check(gettimeofday(&time, NULL) == 0 && llabs(time.tv_sec - by_syscall(CLOCK_REALTIME) / 1000000000) <= 1,
          "gettimeofday");
    return pass();
}
