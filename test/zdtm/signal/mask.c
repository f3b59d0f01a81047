/* Signal masks of every thread. */
#include "zdtm.h"

#include <pthread.h>

#define THREADS 8
static pthread_barrier_t barrier;

static void fill(sigset_t *set, int step) {
    sigemptyset(set);
    for (int i = 1; i <= 64; i += step)
        if (i != SIGTERM && i != SIGKILL && i != SIGSTOP && i != 32 && i != 33)
            sigaddset(set, i);
}

static void *body(void *argument) {
    sigset_t wanted, found;
    fill(&wanted, (long)argument + 2);
    must(pthread_sigmask(SIG_SETMASK, &wanted, NULL));
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    pthread_sigmask(SIG_SETMASK, NULL, &found);
    for (int i = 1; i <= 64; i++)
        check(sigismember(&wanted, i) == sigismember(&found, i), "thread %ld: signal %d", (long)argument, i);
    return NULL;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    pthread_t threads[THREADS];
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    for (long i = 0; i < THREADS; i++)
        must(pthread_create(&threads[i], NULL, body, (void *)i) ? -1 : 0);
    sigset_t wanted, found;
    fill(&wanted, 1);
    must(sigprocmask(SIG_SETMASK, &wanted, NULL));
    pthread_barrier_wait(&barrier);
    test_daemon();
    test_waitsig();
    sigprocmask(SIG_SETMASK, NULL, &found);
    for (int i = 1; i <= 64; i++)
        check(sigismember(&wanted, i) == sigismember(&found, i), "main thread: signal %d", i);
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < THREADS; i++)
        check(pthread_join(threads[i], NULL) == 0, "join");
    return pass();
}
