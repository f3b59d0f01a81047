/* The GS base that threads set for themselves, and the FS base that the C library depends on. */
#include "zdtm.h"

#include <asm/prctl.h>
#include <pthread.h>

#define THREADS 3
static pthread_barrier_t barrier;
static __thread int in_tls = 5;

static void *body(void *argument) {
    uint64_t base = 0x10000 + 0x1000 * (long)argument, found = 0, fs, fs_after;
    must(syscall(SYS_arch_prctl, ARCH_SET_GS, base));
    must(syscall(SYS_arch_prctl, ARCH_GET_FS, &fs));
    in_tls = (long)argument;
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    must(syscall(SYS_arch_prctl, ARCH_GET_GS, &found));
    must(syscall(SYS_arch_prctl, ARCH_GET_FS, &fs_after));
    check(found == base, "thread %ld: GS base %#lx", (long)argument, found);
    check(fs == fs_after && in_tls == (long)argument, "thread %ld: FS base %#lx", (long)argument, fs_after);
    return NULL;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    pthread_t threads[THREADS];
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    for (long i = 0; i < THREADS; i++)
        must(pthread_create(&threads[i], NULL, body, (void *)i) ? -1 : 0);
    pthread_barrier_wait(&barrier);
    test_daemon();
    test_waitsig();
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    return pass();
}
