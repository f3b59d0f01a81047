/* A program that compilers instrument: terabytes of shadow memory of which a little is used. Two threads count, and a
 * child that has inherited it all counts as well. Ends when SIGTERM comes: PASS if all have gone on counting. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long counts[2];
static _Atomic int ending;

static void end(int number) {
    (void)number;
    ending = 1;
}

static void *count(void *argument) {
    long number = (long)argument;
    while (!ending) {
        char *memory = malloc(100000);
        memset(memory, (int)number + 1, 100000);
        pthread_mutex_lock(&lock);
        counts[number] += memory[99999] == number + 1;
        pthread_mutex_unlock(&lock);
        free(memory);
        usleep(1000);
    }
    return NULL;
}

static long count_of(long number) {
    pthread_mutex_lock(&lock);
    long value = counts[number];
    pthread_mutex_unlock(&lock);
    return value;
}

int main(void) {
    struct sigaction action = {.sa_handler = end};
    sigaction(SIGTERM, &action, NULL);
    pid_t child = fork();
    pthread_t threads[2];
    for (long i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, count, (void *)i);
    if (child)
        printf("READY\n"), fflush(stdout);
    while (!ending)
        pause();
    for (long i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    if (!child)
        return count_of(0) > 10 && count_of(1) > 10 ? 7 : 8;
    kill(child, SIGTERM);
    int status = 0;
    waitpid(child, &status, 0);
    printf("%s\n", status == 7 << 8 && count_of(0) > 10 && count_of(1) > 10 ? "PASS" : "FAIL");
    return 0;
}
