/* Seccomp filters: chains that differ per thread, a common part, flags, inheritance by children. */
#include "seccomp.h"

#include <pthread.h>

#define THREADS 4
static pthread_barrier_t barrier;
static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
static const int kCalls[THREADS] = {SYS_getppid, SYS_getuid, SYS_getgid, SYS_geteuid};

/* Threads 1 and 2 add nothing, 0 one filter, 3 two. */
static void add_filters(long thread) {
    if (thread == 0)
        must(deny(kCalls[0], 100, SECCOMP_FILTER_FLAG_LOG));
    if (thread == 3) {
        must(deny(kCalls[3], 103, 0));
        /* A younger filter of the same action does not win: the oldest errno stays when equal in precedence. */
        must(deny(kCalls[2], 104, SECCOMP_FILTER_FLAG_SPEC_ALLOW));
    }
}

static void verify(long thread) {
    check(answer_of(SYS_getpgrp) == 99, "thread %ld: the common filter answers %d", thread, answer_of(SYS_getpgrp));
    check(answer_of(SYS_getppid) == (thread == 0 ? 100 : 0), "thread %ld: getppid", thread);
    check(answer_of(SYS_geteuid) == (thread == 3 ? 103 : 0), "thread %ld: geteuid", thread);
    check(answer_of(SYS_getgid) == (thread == 3 ? 104 : 0), "thread %ld: getgid", thread);
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/task/%d/status", gettid_());
    char *count = proc_value(path, "Seccomp_filters:");
    check(!count || atoi(count) == (thread == 0 ? 2 : thread == 3 ? 3 : 1), "thread %ld: %s filters", thread, count);
}

static int child_body(void *argument) {
    child_wait();
    verify((long)argument);
    return 0;
}

static void *body(void *argument) {
    add_filters((long)argument);
    /* spawn() is not for concurrent use; and a child must not inherit the file that another thread verifies with. */
    pthread_mutex_lock(&one_at_a_time);
    pid_t child = spawn(child_body, argument);
    verify((long)argument);
    pthread_mutex_unlock(&one_at_a_time);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    verify((long)argument);
    finish_child(child);
    return NULL;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    must(deny(SYS_getpgrp, 99, 0));
    pthread_t threads[THREADS];
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    for (long i = 0; i < THREADS; i++) {
        must(pthread_create(&threads[i], NULL, body, (void *)i) ? -1 : 0);
    }
    pthread_barrier_wait(&barrier);
    test_daemon();
    test_waitsig();
    verify(1);
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    return pass();
}
