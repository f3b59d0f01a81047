/* General, x87, SSE and AVX registers and control words of threads that never enter the kernel while checkpointed. */
#include "zdtm.h"

#include <cpuid.h>
#include <pthread.h>

#define THREADS 4

struct state {
    volatile int *stop;
    uint64_t general[11]; /* rbx rcx rdx rsi rdi r8 r9 r10 r11 r12 r13 */
    uint64_t general_after[11];
    uint8_t vector[16][32] __attribute__((aligned(32)));
    uint8_t vector_after[16][32] __attribute__((aligned(32)));
    double x87, x87_after;
    uint32_t mxcsr, mxcsr_after;
    uint16_t control, control_after;
};

static volatile int stop, running;
static struct state states[THREADS];
static bool have_avx;

#define EACH_VECTOR(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
#define LOAD_YMM(n) "vmovdqu " #n "*32(%%r14), %%ymm" #n "\n"
#define STORE_YMM(n) "vmovdqu %%ymm" #n ", " #n "*32(%%r15)\n"
#define LOAD_XMM(n) "movdqu " #n "*32(%%r14), %%xmm" #n "\n"
#define STORE_XMM(n) "movdqu %%xmm" #n ", " #n "*32(%%r15)\n"
#define ALL_VECTORS                                                                                                    \
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",         \
        "xmm13", "xmm14", "xmm15"

/* Loads everything, spins on *stop (address in r14, the only memory read), stores everything. */
#define SPIN(LOAD, STORE, s)                                                                                           \
    do {                                                                                                               \
        register uint64_t *in __asm__("r12") = (s)->general;                                                           \
        register uint64_t *out __asm__("r13") = (s)->general_after;                                                    \
        register void *vectors_in __asm__("r14") = (s)->vector;                                                        \
        register void *vectors_out __asm__("r15") = (s)->vector_after;                                                 \
        register volatile int *flag __asm__("rax") = (s)->stop;                                                        \
        __asm__ volatile(EACH_VECTOR(LOAD) "push %%r13\n push %%r15\n mov %%rax, %%r14\n"                              \
                                           "mov 0(%%r12), %%rbx\n mov 8(%%r12), %%rcx\n mov 16(%%r12), %%rdx\n"        \
                                           "mov 24(%%r12), %%rsi\n mov 32(%%r12), %%rdi\n mov 40(%%r12), %%r8\n"       \
                                           "mov 48(%%r12), %%r9\n mov 56(%%r12), %%r10\n mov 64(%%r12), %%r11\n"       \
                                           "mov 80(%%r12), %%r13\n mov 72(%%r12), %%r12\n"                             \
                                           "1: cmpl $0, (%%r14)\n je 1b\n"                                             \
                                           "mov %%r13, %%rax\n pop %%r15\n pop %%r13\n"                                \
                                           "mov %%rbx, 0(%%r13)\n mov %%rcx, 8(%%r13)\n mov %%rdx, 16(%%r13)\n"        \
                                           "mov %%rsi, 24(%%r13)\n mov %%rdi, 32(%%r13)\n mov %%r8, 40(%%r13)\n"       \
                                           "mov %%r9, 48(%%r13)\n mov %%r10, 56(%%r13)\n mov %%r11, 64(%%r13)\n"       \
                                           "mov %%r12, 72(%%r13)\n mov %%rax, 80(%%r13)\n" EACH_VECTOR(STORE)          \
                         : "+r"(in), "+r"(out), "+r"(vectors_in), "+r"(vectors_out), "+r"(flag)                        \
                         :                                                                                             \
                         : "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory", "cc", ALL_VECTORS);  \
    } while (0)

/* The functions are leaves without locals, so the pushes overwrite nothing. */
__attribute__((noinline, target("avx"))) static void spin_avx(struct state *s) {
    SPIN(LOAD_YMM, STORE_YMM, s);
    __asm__ volatile("vzeroupper" ::: "memory");
}

__attribute__((noinline)) static void spin_sse(struct state *s) {
    SPIN(LOAD_XMM, STORE_XMM, s);
}

static void *body(void *argument) {
    struct state *s = argument;
    long double held = s->x87;
    __asm__ volatile("ldmxcsr %0" ::"m"(s->mxcsr));
    __asm__ volatile("fldcw %0" ::"m"(s->control));
    __asm__ volatile("fldt %0" ::"m"(held));
    __atomic_add_fetch(&running, 1, __ATOMIC_SEQ_CST);
    if (have_avx)
        spin_avx(s);
    else
        spin_sse(s);
    __asm__ volatile("fstpt %0" : "=m"(held));
    __asm__ volatile("fnstcw %0" : "=m"(s->control_after));
    __asm__ volatile("stmxcsr %0" : "=m"(s->mxcsr_after));
    s->x87_after = (double)held;
    return NULL;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    have_avx = __builtin_cpu_supports("avx");
    pthread_t threads[THREADS];
    static const uint16_t kControl[] = {0x037f, 0x0b7f, 0x077f, 0x0f7f};
    static const uint32_t kMxcsr[] = {0x1f80, 0x3f80, 0x5f80, 0xff80};
    for (int i = 0; i < THREADS; i++) {
        struct state *s = &states[i];
        datagen(s->general, sizeof(s->general), NULL);
        datagen(s->vector, sizeof(s->vector), NULL);
        s->stop = &stop;
        s->x87 = 1.0 / 3.0 + i;
        s->mxcsr = kMxcsr[i];
        s->control = kControl[i];
        must(pthread_create(&threads[i], NULL, body, s) ? -1 : 0);
    }
    while (__atomic_load_n(&running, __ATOMIC_SEQ_CST) != THREADS)
        sleep_ms(1);
    test_daemon();
    test_waitsig();
    stop = 1;
    for (int i = 0; i < THREADS; i++) {
        struct state *s = &states[i];
        pthread_join(threads[i], NULL);
        check(!memcmp(s->general, s->general_after, sizeof(s->general)), "thread %d: general registers", i);
        for (int r = 0; r < 16; r++)
            check(!memcmp(s->vector[r], s->vector_after[r], have_avx ? 32 : 16), "thread %d: vector register %d", i, r);
        check(s->x87 == s->x87_after, "thread %d: x87 register", i);
        check((s->mxcsr & 0xffc0) == (s->mxcsr_after & 0xffc0), "thread %d: mxcsr %#x", i, s->mxcsr_after);
        check(s->control == s->control_after, "thread %d: control word %#x", i, s->control_after);
    }
    return pass();
}
