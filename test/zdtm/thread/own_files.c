/* A thread with a descriptor table of its own (unshare). */
#include "zdtm.h"

#include <pthread.h>

static pthread_barrier_t barrier;

static void *body(void *argument) {
    must(unshare(CLONE_FILES));
    must(dup2(0, 77));
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    check(fcntl(77, F_GETFD) != -1, "descriptor of the thread");
    return argument;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    pthread_t thread;
    pthread_barrier_init(&barrier, NULL, 2);
    must(pthread_create(&thread, NULL, body, NULL) ? -1 : 0);
    pthread_barrier_wait(&barrier);
    test_daemon();
    test_waitsig();
    check(fcntl(77, F_GETFD) == -1, "the leader has the thread's descriptor");
    pthread_barrier_wait(&barrier);
    pthread_join(thread, NULL);
    return pass();
}
