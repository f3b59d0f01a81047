// A program that harm.py checkpoints. It says on its standard output what is wrong with it, if anything ever is.
//
// usage: harm_target THREADS MEGABYTES HANDLER_MS
// SIGUSR1 runs a handler that takes HANDLER_MS. All registers that a call preserves, every thread's signal mask and the
// memory are checked all the time.
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static int handler_ms;

static void wrong(const char *what) {
    printf("wrong: %s\n", what);
    fflush(stdout);
    _exit(1);
}

static void handler(int signal) {
    (void)signal;
    struct timespec left = {handler_ms / 1000, handler_ms % 1000 * 1000000};
    while (nanosleep(&left, &left))
        ;
}

static void look_at_mask(void) {
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    for (int number = 1; number < 32; number++)
        if (sigismember(&mask, number))
            wrong("a signal is blocked");
}

static void compute(uint64_t seed) {
    register uint64_t a asm("r12") = seed, b asm("r15") = ~seed;
    asm volatile("" : "+r"(a), "+r"(b));
    for (volatile int i = 0; i < 20000; i++)
        ;
    asm volatile("" : "+r"(a), "+r"(b));
    if (a != seed || b != ~seed)
        wrong("a register has changed");
}

static void *work(void *argument) {
    const long kind = (long)argument % 4;
    for (uint64_t round = 1;; round++) {
        struct timespec moment = {0, 20000000};
        if (kind == 0)
            nanosleep(&moment, NULL);
        else if (kind == 1)
            poll(NULL, 0, 30);
        else
            compute(round);
        if (kind == 3)
            usleep(5000);
        look_at_mask();
    }
    return NULL;
}

int main(int argc, char **argv) {
    if (argc != 4)
        return 2;
    const long threads = atol(argv[1]);
    const size_t bytes = (size_t)atol(argv[2]) << 20;
    handler_ms = atoi(argv[3]);
    uint64_t *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (size_t i = 0; i < bytes / 8; i += 512)
        memory[i] = i | 1;
    signal(SIGUSR1, handler);
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 65536);
    for (long i = 1; i < threads; i++) {
        pthread_t thread;
        if (pthread_create(&thread, &small, work, (void *)i))
            return 3;
    }
    printf("ready\n");
    fflush(stdout);
    for (uint64_t round = 0;; round++) {
        compute(round);
        look_at_mask();
        if (memory[round * 512 % (bytes / 8)] != (round * 512 % (bytes / 8) | 1))
            wrong("memory has changed");
    }
}
