/* Threads that are nearly always in vfork, as those of a Java or Go program that starts others are: the dump that finds
 * one of them there has to let go and stop it again, and it must not be stopped twice. */
#include "zdtm.h"

#include <pthread.h>

#define THREADS 3

static void *body(void *argument) {
    while (test_go()) {
        run_in_vfork(30);
        sleep_ms(30);
    }
    return argument;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        must(pthread_create(&threads[i], NULL, body, NULL) ? -1 : 0);
    test_daemon();
    test_waitsig();
    for (int i = 0; i < THREADS; i++)
        check(pthread_join(threads[i], NULL) == 0, "join");
    return pass();
}
