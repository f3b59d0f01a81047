/* Protection keys: which keys are allocated, the key of each mapping, and the rights register of each thread. */
#include "zdtm.h"

#include <pthread.h>

static pthread_barrier_t barrier;
static int keys[3];

static void *body(void *unused) {
    must(pkey_set(keys[1], PKEY_DISABLE_ACCESS));
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    check(pkey_get(keys[1]) == PKEY_DISABLE_ACCESS, "rights of the thread: %d", pkey_get(keys[1]));
    return unused;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    uint8_t *memory[3];
    for (int i = 0; i < 3; i++) {
        keys[i] = must(pkey_alloc(0, i));
        memory[i] = map_private(4 * PAGE);
        memset(memory[i], 10 + i, 4 * PAGE);
        must(pkey_mprotect(memory[i], 4 * PAGE, PROT_READ | PROT_WRITE, keys[i]));
        must(munmap(memory[i] + 3 * PAGE, PAGE));
    }
    must(pkey_free(keys[0]));
    pthread_t thread;
    pthread_barrier_init(&barrier, NULL, 2);
    must(pthread_create(&thread, NULL, body, NULL) ? -1 : 0);
    pthread_barrier_wait(&barrier);
    test_daemon();
    test_waitsig();
    for (int i = 1; i < 3; i++) {
        check(smaps_kb(memory[i], "ProtectionKey:") == keys[i], "key of mapping %d is %ld", i,
              smaps_kb(memory[i], "ProtectionKey:"));
        check(pkey_get(keys[i]) == i, "rights of key %d: %d", keys[i], pkey_get(keys[i]));
    }
    check(pkey_alloc(0, 0) == keys[0], "the free key is not free");
    int next = pkey_alloc(0, 0);
    check(next != keys[1] && next != keys[2], "a key in use could be allocated");
    pthread_barrier_wait(&barrier);
    pthread_join(thread, NULL);
    return pass();
}
