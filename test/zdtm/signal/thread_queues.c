/* Private signal queues of several threads: each finds its own signals, and the shared ones are nobody's own. */
#include "zdtm.h"

#include <pthread.h>

#define THREADS 5
#define EACH 30
static pthread_barrier_t barrier;

static int take(int number, siginfo_t *info) {
    uint64_t set = 1ULL << (number - 1);
    return syscall(SYS_rt_sigtimedwait, &set, info, &(struct timespec){0, 0}, sizeof(set));
}

static void *body(void *argument) {
    long thread = (long)argument;
    for (int i = 0; i < EACH; i++) {
        siginfo_t info = {.si_signo = 35 + i % 3, .si_code = SI_QUEUE};
        info.si_value.sival_ptr = (void *)(thread << 32 | i);
        must(syscall(SYS_rt_tgsigqueueinfo, getpid(), gettid_(), info.si_signo, &info));
    }
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    for (int first = 0; first < 3; first++)
        for (int i = first; i < EACH; i += 3) {
            siginfo_t info;
            check(take(35 + first, &info) == 35 + first, "thread %ld: signal %d.%d is lost", thread, first, i);
            check(info.si_value.sival_ptr == (void *)(thread << 32 | i), "thread %ld: value %p", thread,
                  info.si_value.sival_ptr);
        }
    siginfo_t info;
    check(take(35, &info) == -1 && errno == EAGAIN, "thread %ld: more signals than before", thread);
    return NULL;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    sigset_t blocked;
    sigemptyset(&blocked);
    for (int i = 35; i < 40; i++)
        sigaddset(&blocked, i);
    must(sigprocmask(SIG_BLOCK, &blocked, NULL));
    pthread_t threads[THREADS];
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    for (long i = 0; i < THREADS; i++)
        must(pthread_create(&threads[i], NULL, body, (void *)i) ? -1 : 0);
    pthread_barrier_wait(&barrier);
    must(sigqueue(getpid(), 39, (union sigval){.sival_int = 5}));
    test_daemon();
    test_waitsig();
    siginfo_t info;
    check(take(39, &info) == 39 && info.si_value.sival_int == 5, "shared signal");
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    return pass();
}
