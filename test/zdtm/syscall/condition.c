/* Threads that wait on condition variables, with and without time limits, and semaphores over processes. */
#include "zdtm.h"

#include <pthread.h>
#include <semaphore.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static bool go;
static volatile pid_t tids[2];
static sem_t *semaphores;

static void *forever(void *unused) {
    pthread_mutex_lock(&mutex);
    tids[0] = gettid_();
    while (!go)
        pthread_cond_wait(&condition, &mutex);
    pthread_mutex_unlock(&mutex);
    return unused;
}

static void *limited(void *unused) {
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 300;
    pthread_mutex_lock(&mutex);
    tids[1] = gettid_();
    while (!go)
        check(pthread_cond_timedwait(&condition, &mutex, &end) == 0, "the limit was not reached, and yet");
    pthread_mutex_unlock(&mutex);
    return unused;
}

static int child_body(void *unused) {
    (void)unused;
    child_ready();
    while (sem_wait(&semaphores[0]) && errno == EINTR)
        continue;
    sem_post(&semaphores[1]);
    test_waitsig();
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    semaphores = map_shared(PAGE);
    must(sem_init(&semaphores[0], 1, 0));
    must(sem_init(&semaphores[1], 1, 0));
    pid_t child = spawn(child_body, NULL);
    pthread_t threads[2];
    must(pthread_create(&threads[0], NULL, forever, NULL) ? -1 : 0);
    must(pthread_create(&threads[1], NULL, limited, NULL) ? -1 : 0);
    for (int i = 0; i < 2; i++) {
        while (!tids[i])
            sleep_ms(1);
        wait_until_asleep(tids[i]);
    }
    wait_until_asleep(child);
    test_daemon();
    test_waitsig();
    pthread_mutex_lock(&mutex);
    go = true;
    pthread_cond_broadcast(&condition);
    pthread_mutex_unlock(&mutex);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    sem_post(&semaphores[0]);
    check(sem_wait(&semaphores[1]) == 0, "semaphore");
    finish_child(child);
    return pass();
}
