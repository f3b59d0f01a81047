/* Robust futexes: a mutex of a thread that ends after restore tells the next owner; so does one of a killed process. */
#include "zdtm.h"

#include <pthread.h>

static pthread_mutex_t mutex;
static pthread_mutex_t *shared;
static pthread_barrier_t barrier;

static void make_robust(pthread_mutex_t *m, int sharing) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutexattr_setpshared(&attributes, sharing);
    pthread_mutex_init(m, &attributes);
}

static void *body(void *unused) {
    pthread_mutex_lock(&mutex);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    return unused; /* without unlocking */
}

static int child_body(void *unused) {
    (void)unused;
    pthread_mutex_lock(shared);
    child_wait();
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    pthread_t thread;
    shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    make_robust(&mutex, PTHREAD_PROCESS_PRIVATE);
    make_robust(shared, PTHREAD_PROCESS_SHARED);
    pid_t child = spawn(child_body, NULL);
    pthread_barrier_init(&barrier, NULL, 2);
    must(pthread_create(&thread, NULL, body, NULL) ? -1 : 0);
    pthread_barrier_wait(&barrier);
    test_daemon();
    test_waitsig();
    check(pthread_mutex_trylock(&mutex) == EBUSY, "the thread's mutex is free");
    check(pthread_mutex_trylock(shared) == EBUSY, "the child's mutex is free");
    pthread_barrier_wait(&barrier);
    pthread_join(thread, NULL);
    check(pthread_mutex_trylock(&mutex) == EOWNERDEAD, "death of the thread was not told");
    kill(child, SIGKILL);
    expect_wait_status(child, SIGKILL);
    check(pthread_mutex_trylock(shared) == EOWNERDEAD, "death of the child was not told");
    return pass();
}
