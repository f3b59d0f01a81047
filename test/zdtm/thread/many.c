/* Two hundred threads: ids, names, private data and stacks; every one can be joined afterwards. */
#include "zdtm.h"

#include <pthread.h>

#define THREADS 200
static pthread_barrier_t barrier;
static __thread long private_value;

static void *body(void *argument) {
    long number = (long)argument;
    char name[16], name_after[17] = {0};
    uint8_t stack[2000];
    uint32_t crc = ~0u;
    snprintf(name, sizeof(name), "thread-%ld", number);
    prctl(PR_SET_NAME, name);
    pid_t tid = gettid_();
    private_value = number * 3 + 1;
    for (size_t i = 0; i < sizeof(stack); i++)
        stack[i] = number + i;
    crc = crc32_of(crc, stack, sizeof(stack));
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    check(gettid_() == tid, "thread %ld: id %d instead of %d", number, gettid_(), tid);
    prctl(PR_GET_NAME, name_after);
    check(!strcmp(name, name_after), "thread %ld: name %s", number, name_after);
    check(private_value == number * 3 + 1, "thread %ld: private data", number);
    check(datachk(stack, sizeof(stack), &crc), "thread %ld: stack", number);
    return (void *)(number + 1000);
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    static pthread_t threads[THREADS];
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 128 * 1024);
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    for (long i = 0; i < THREADS; i++)
        must(pthread_create(&threads[i], &attributes, body, (void *)i) ? -1 : 0);
    pthread_barrier_wait(&barrier);
    test_daemon();
    test_waitsig();
    pthread_barrier_wait(&barrier);
    for (long i = 0; i < THREADS; i++) {
        void *result;
        check(pthread_join(threads[i], &result) == 0 && result == (void *)(i + 1000), "join of thread %ld", i);
    }
    return pass();
}
