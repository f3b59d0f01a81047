/* Threads that come and go all the time. */
#include "zdtm.h"

#include <pthread.h>

static void *body(void *argument) {
    return (void *)((long)argument * 3);
}

static void *maker(void *unused) {
    for (long round = 0; test_go(); round++) {
        pthread_t threads[5];
        for (int i = 0; i < 5; i++)
            check(pthread_create(&threads[i], NULL, body, (void *)(round + i)) == 0, "pthread_create");
        for (int i = 0; i < 5; i++) {
            void *result;
            check(pthread_join(threads[i], &result) == 0 && result == (void *)((round + i) * 3), "round %ld: thread %d",
                  round, i);
        }
    }
    return unused;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    pthread_t makers[3];
    for (int i = 0; i < 3; i++)
        must(pthread_create(&makers[i], NULL, maker, NULL) ? -1 : 0);
    test_daemon();
    test_waitsig();
    for (int i = 0; i < 3; i++)
        pthread_join(makers[i], NULL);
    return pass();
}
