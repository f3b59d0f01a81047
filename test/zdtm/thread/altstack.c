/* Alternate signal stacks: one per thread, with flags, also of a thread that is checkpointed while it runs on it. */
#include "zdtm.h"

#include <pthread.h>

#define THREADS 4
#define SIZE 32768

#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1U << 31)
#endif

static pthread_barrier_t barrier;
static uint8_t stacks[THREADS][SIZE];
static volatile int inside, leave;

static void handler(int number) {
    uint8_t local[256];
    (void)number;
    memset(local, 0x5a, sizeof(local));
    __atomic_add_fetch(&inside, 1, __ATOMIC_SEQ_CST);
    while (!leave)
        sleep_ms(1);
    check(all_bytes_are(local, 0x5a, sizeof(local)), "stack contents");
}

static void on_alternate(int number) {
    stack_t stack;
    (void)number;
    must(sigaltstack(NULL, &stack));
    check((uint8_t *)&stack > (uint8_t *)stack.ss_sp && (uint8_t *)&stack < (uint8_t *)stack.ss_sp + SIZE,
          "handler does not run on the alternate stack");
}

static void *body(void *argument) {
    long number = (long)argument;
    stack_t stack = {.ss_sp = stacks[number],
                     .ss_size = SIZE - number * 4096,
                     .ss_flags = number == 2 ? SS_AUTODISARM : 0},
            after;
    if (number != 3)
        must(sigaltstack(&stack, NULL));
    pthread_barrier_wait(&barrier);
    if (number == 0)
        pthread_kill(pthread_self(), SIGUSR1); /* returns after the checkpoint */
    pthread_barrier_wait(&barrier);
    must(sigaltstack(NULL, &after));
    if (number == 3) {
        check(after.ss_flags == SS_DISABLE, "thread without stack: flags %#x", after.ss_flags);
        return NULL;
    }
    check(after.ss_sp == stack.ss_sp && after.ss_size == stack.ss_size, "thread %ld: stack %p size %zu", number,
          after.ss_sp, after.ss_size);
    check(after.ss_flags == stack.ss_flags, "thread %ld: flags %#x", number, after.ss_flags);
    if (number != 2)
        pthread_kill(pthread_self(), SIGUSR2);
    return NULL;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
    must(sigaction(SIGUSR1, &action, NULL));
    action.sa_handler = on_alternate;
    must(sigaction(SIGUSR2, &action, NULL));
    pthread_t threads[THREADS];
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    for (long i = 0; i < THREADS; i++)
        must(pthread_create(&threads[i], NULL, body, (void *)i) ? -1 : 0);
    pthread_barrier_wait(&barrier);
    while (!inside)
        sleep_ms(1);
    test_daemon();
    test_waitsig();
    leave = 1;
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    return pass();
}
