/* Scheduling policy, priority, reset-on-fork, nice value, affinity, I/O priority and timer slack of every thread. */
#include "zdtm.h"

#include <pthread.h>
#include <sys/resource.h>

struct attributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
};

static const struct attributes kWanted[] = {
    {48, SCHED_OTHER, 0, 0, 0, 0, 0, 0},
    {48, SCHED_OTHER, 0, 7, 0, 0, 0, 0},
    {48, SCHED_OTHER, 0, -11, 0, 0, 0, 0},
    {48, SCHED_BATCH, 0, 5, 0, 0, 0, 0},
    {48, SCHED_IDLE, 0, 0, 0, 0, 0, 0},
    {48, SCHED_FIFO, 0, 0, 3, 0, 0, 0},
    {48, SCHED_RR, 1 /* reset on fork */, 0, 9, 0, 0, 0},
    {48, SCHED_OTHER, 1, 19, 0, 0, 0, 0},
    {48, SCHED_BATCH, 1, 0, 0, 0, 0, 0},
    {48, SCHED_IDLE, 1, 0, 0, 0, 0, 0},
    {48, SCHED_FIFO, 1, 0, 1, 0, 0, 0},
};
#define THREADS ARRAY_SIZE(kWanted)

static const int kIoPriorities[THREADS] = {0,           1 << 13 | 3, 2 << 13 | 0, 2 << 13 | 7,
                                           3 << 13 | 7, 2 << 13 | 4, 0,           2 << 13 | 5,
                                           2 << 13 | 1, 2 << 13 | 2, 0};
static pthread_barrier_t barrier;

static void read_all(struct attributes *a, int *io, long *slack, cpu_set_t *cpus) {
    memset(a, 0, sizeof(*a));
    must(syscall(SYS_sched_getattr, 0, a, sizeof(*a), 0));
    *io = must(syscall(SYS_ioprio_get, 1, 0));
    *slack = prctl(PR_GET_TIMERSLACK);
    CPU_ZERO(cpus);
    must(sched_getaffinity(0, sizeof(*cpus), cpus));
}

static void *body(void *argument) {
    long number = (long)argument;
    struct attributes before, after;
    int io, io_after;
    long slack, slack_after;
    cpu_set_t cpus, cpus_after;
    CPU_ZERO(&cpus);
    CPU_SET(number % sysconf(_SC_NPROCESSORS_ONLN), &cpus);
    if (number)
        must(sched_setaffinity(0, sizeof(cpus), &cpus));
    must(prctl(PR_SET_TIMERSLACK, 12345 + 1000 * number));
    must(syscall(SYS_ioprio_set, 1, 0, kIoPriorities[number]));
    must(syscall(SYS_sched_setattr, 0, &kWanted[number], 0));
    /* Of its own, whatever the caller's is; real-time threads have one as well, for later. */
    if (kWanted[number].policy != SCHED_OTHER && kWanted[number].policy != SCHED_BATCH)
        must(setpriority(PRIO_PROCESS, gettid(), 3 + number));
    const int nice_before = getpriority(PRIO_PROCESS, gettid());
    read_all(&before, &io, &slack, &cpus);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    read_all(&after, &io_after, &slack_after, &cpus_after);
    const int nice_after = getpriority(PRIO_PROCESS, gettid());
    check(nice_before == nice_after, "thread %ld: nice value %d instead of %d", number, nice_after, nice_before);
    check(before.policy == after.policy, "thread %ld: policy %u instead of %u", number, after.policy, before.policy);
    check(before.nice == after.nice, "thread %ld: nice %d instead of %d", number, after.nice, before.nice);
    check(before.priority == after.priority, "thread %ld: priority %u instead of %u", number, after.priority,
          before.priority);
    check(before.flags == after.flags, "thread %ld: flags %#lx instead of %#lx", number, after.flags, before.flags);
    check(io == io_after, "thread %ld: I/O priority %#x instead of %#x", number, io_after, io);
    check(slack_after == slack || before.policy == SCHED_FIFO || before.policy == SCHED_RR,
          "thread %ld: timer slack %ld instead of %ld", number, slack_after, slack);
    check(CPU_EQUAL(&cpus, &cpus_after), "thread %ld: affinity", number);
    return NULL;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    pthread_t threads[THREADS];
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    for (size_t i = 0; i < THREADS; i++)
        must(pthread_create(&threads[i], NULL, body, (void *)i) ? -1 : 0);
    pthread_barrier_wait(&barrier);
    test_daemon();
    test_waitsig();
    pthread_barrier_wait(&barrier);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    return pass();
}
