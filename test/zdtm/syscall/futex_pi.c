/* Priority-inheriting mutexes: held by one thread and waited for by others, also robust and over processes. */
#include "zdtm.h"

#include <pthread.h>

#define WAITERS 3
static pthread_mutex_t mutex;
static pthread_mutex_t *shared;
static int acquired;
static volatile pid_t tids[WAITERS];

static void make(pthread_mutex_t *m, int sharing, int robust) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
    pthread_mutexattr_setpshared(&attributes, sharing);
    pthread_mutexattr_setrobust(&attributes, robust);
    must(pthread_mutex_init(m, &attributes) ? -1 : 0);
}

static void *waiter(void *argument) {
    tids[(long)argument] = gettid_();
    check(pthread_mutex_lock(&mutex) == 0, "waiter %ld: lock", (long)argument);
    acquired++;
    check(pthread_mutex_unlock(&mutex) == 0, "waiter %ld: unlock", (long)argument);
    return NULL;
}

static int child_body(void *unused) {
    (void)unused;
    pthread_mutex_lock(shared);
    child_wait();
    return 0; /* without unlocking */
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    make(&mutex, PTHREAD_PROCESS_PRIVATE, PTHREAD_MUTEX_STALLED);
    shared = map_shared(PAGE);
    make(shared, PTHREAD_PROCESS_SHARED, PTHREAD_MUTEX_ROBUST);
    pid_t child = spawn(child_body, NULL);
    pthread_t threads[WAITERS];
    pthread_mutex_lock(&mutex);
    for (long i = 0; i < WAITERS; i++) {
        must(pthread_create(&threads[i], NULL, waiter, (void *)i) ? -1 : 0);
        while (!tids[i])
            sleep_ms(1);
        wait_until_asleep(tids[i]);
    }
    test_daemon();
    test_waitsig();
    check(acquired == 0, "the mutex was lost");
    check(pthread_mutex_unlock(&mutex) == 0, "the owner is not the owner any more");
    for (int i = 0; i < WAITERS; i++)
        pthread_join(threads[i], NULL);
    check(acquired == WAITERS, "%d waiters got the mutex", acquired);
    finish_child(child);
    check(pthread_mutex_lock(shared) == EOWNERDEAD, "death of the owner was not told");
    return pass();
}
