/* A seccomp filter given to all threads at once (TSYNC), under no_new_privs and without privileges; a TSYNC that
 * follows after restore still works, which needs the threads to share their filters as before. */
#include "seccomp.h"

#include <pthread.h>

#define THREADS 3
static pthread_barrier_t barrier;

static void *body(void *argument) {
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    check(answer_of(SYS_getppid) == 77, "thread %ld: getppid is not denied", (long)argument);
    pthread_barrier_wait(&barrier);
    check(answer_of(SYS_getpgrp) == 78, "thread %ld: getpgrp is not denied", (long)argument);
    return NULL;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    must(setresuid(1000, 1000, 1000));
    must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    pthread_t threads[THREADS];
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    for (long i = 0; i < THREADS; i++)
        must(pthread_create(&threads[i], NULL, body, (void *)i) ? -1 : 0);
    pthread_barrier_wait(&barrier);
    must(deny(SYS_getppid, 77, SECCOMP_FILTER_FLAG_TSYNC));
    test_daemon();
    test_waitsig();
    pthread_barrier_wait(&barrier);
    check(deny(SYS_getpgrp, 78, SECCOMP_FILTER_FLAG_TSYNC) == 0, "TSYNC after restore");
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    return pass();
}
