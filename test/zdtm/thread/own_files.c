/* Threads with a descriptor table of their own (unshare), one of them shared by two threads. */
#include "zdtm.h"

#include <pthread.h>

static pthread_barrier_t barrier;
static int own_pipe[2];

static void *sharer(void *argument) {
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    check(fcntl(77, F_GETFD) == FD_CLOEXEC, "descriptor of the thread that has made this one");
    must(dup2(0, 79)); // the other one has it, too
    pthread_barrier_wait(&barrier);
    return argument;
}

static void *body(void *argument) {
    pthread_t other;
    char byte = 0;
    must(unshare(CLONE_FILES));
    must(dup3(0, 77, O_CLOEXEC));
    must(pipe(own_pipe));
    must((int)write(own_pipe[1], "p", 1));
    must(pthread_create(&other, NULL, sharer, NULL) ? -1 : 0);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    check(fcntl(77, F_GETFD) == FD_CLOEXEC, "descriptor of the thread");
    check(read(own_pipe[0], &byte, 1) == 1 && byte == 'p', "a pipe that only this thread has");
    pthread_barrier_wait(&barrier);
    check(fcntl(79, F_GETFD) == 0, "two threads do not share descriptors any more");
    pthread_join(other, NULL);
    return argument;
}

/* Has left, and has the same descriptors still. */
static void *alone(void *argument) {
    must(unshare(CLONE_FILES));
    must(close(78));
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    check(fcntl(78, F_GETFD) == -1 && fcntl(77, F_GETFD) == -1, "another's descriptors");
    pthread_barrier_wait(&barrier);
    return argument;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    pthread_t threads[2];
    must(dup2(0, 78));
    pthread_barrier_init(&barrier, NULL, 4);
    must(pthread_create(&threads[0], NULL, body, NULL) ? -1 : 0);
    must(pthread_create(&threads[1], NULL, alone, NULL) ? -1 : 0);
    pthread_barrier_wait(&barrier);
    test_daemon();
    test_waitsig();
    check(fcntl(77, F_GETFD) == -1, "the leader has the thread's descriptor");
    check(fcntl(own_pipe[0], F_GETFD) == -1, "the leader has the thread's pipe");
    check(fcntl(78, F_GETFD) == 0, "the leader has lost a descriptor");
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    check(fcntl(79, F_GETFD) == -1, "the leader got a descriptor of its thread");
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    return pass();
}
