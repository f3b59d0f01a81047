/* Threads that are nearly always in vfork, as those of a Java or Go program that starts others are: the dump that finds
 * one of them there has to let go and stop it again, and it must not be stopped twice. */
#include "zdtm.h"

#include <pthread.h>

#define THREADS 3

static void *body(void *argument) {
    char *const command[] = {"/bin/true", NULL};
    while (test_go()) {
        pid_t child = vfork();
        if (child == 0) {
            sleep_ms(30);
            execv(command[0], command);
            _exit(99);
        }
        must(child);
        int status;
        while (waitpid(child, &status, 0) < 0 && errno == EINTR)
            continue; /* by the signal that ends the test */
        check(status == 0, "wait status %#x", status);
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
