/* AVX-512 registers: all thirty-two, with their upper halves, and the mask registers. */
#include "zdtm.h"

#include <pthread.h>

#define THREADS 2

struct state {
    uint8_t vector[32][64] __attribute__((aligned(64)));
    uint64_t mask[8];
    uint8_t vector_after[32][64] __attribute__((aligned(64)));
    uint64_t mask_after[8];
};

static struct state states[THREADS];
static volatile int stop, running;

#define EIGHT(X, a) X(a##0) X(a##1) X(a##2) X(a##3) X(a##4) X(a##5) X(a##6) X(a##7)
#define ALL(X)                                                                                                         \
    EIGHT(X, )                                                                                                         \
    X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15) X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23) X(24) X(25) X(26)    \
        X(27) X(28) X(29) X(30) X(31)
#define LOAD(n) "vmovdqu64 " #n "*64(%0), %%zmm" #n "\n"
#define STORE(n) "vmovdqu64 %%zmm" #n ", " #n "*64(%1)\n"
#define LOAD_MASK(n) "kmovq 2048+" #n "*8(%0), %%k" #n "\n"
#define STORE_MASK(n) "kmovq %%k" #n ", 2048+" #n "*8(%1)\n"

__attribute__((noinline, target("avx512f,avx512bw"))) static void spin(struct state *s) {
    __asm__ volatile(ALL(LOAD) EIGHT(LOAD_MASK, ) "1: cmpl $0, (%2)\n je 1b\n" ALL(STORE)
                         EIGHT(STORE_MASK, ) "vzeroupper\n"
                     :
                     : "r"(s->vector), "r"(s->vector_after), "r"(&stop)
                     : "memory", "cc");
}

static void *body(void *argument) {
    __atomic_add_fetch(&running, 1, __ATOMIC_SEQ_CST);
    spin(argument);
    return NULL;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        datagen(&states[i], offsetof(struct state, vector_after), NULL);
        must(pthread_create(&threads[i], NULL, body, &states[i]) ? -1 : 0);
    }
    while (__atomic_load_n(&running, __ATOMIC_SEQ_CST) != THREADS)
        sleep_ms(1);
    sleep_ms(10);
    test_daemon();
    test_waitsig();
    stop = 1;
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        for (int r = 0; r < 32; r++)
            check(!memcmp(states[i].vector[r], states[i].vector_after[r], 64), "thread %d: register %d", i, r);
        for (int r = 0; r < 8; r++)
            check(states[i].mask[r] == states[i].mask_after[r], "thread %d: mask register %d", i, r);
    }
    return pass();
}
