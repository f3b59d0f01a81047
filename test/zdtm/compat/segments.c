/* 32-bit threads: segments of set_thread_area(2) that each has beside that of its C library, and the selectors that name them. */
#include "zdtm.h"

#include <asm/ldt.h>
#include <pthread.h>

#define THREADS 3
#define MAGIC 0x5e600000
static pthread_barrier_t barrier;
static volatile int over;

static unsigned short fs_selector(void) {
    unsigned short selector;
    __asm__ volatile("mov %%fs, %0" : "=r"(selector));
    return selector;
}
static unsigned int through_fs(void) {
    unsigned int word;
    __asm__ volatile("mov %%fs:0, %0" : "=r"(word));
    return word;
}

/* The selector of a new segment that begins at `word`. */
static unsigned short make_segment(unsigned int *word) {
    struct user_desc area = {.entry_number = -1, .base_addr = (unsigned int)word, .limit = 1, .limit_in_pages = 1, .seg_32bit = 1, .useable = 1};
    must(syscall(SYS_set_thread_area, &area));
    return area.entry_number << 3 | 3;
}

/* It never sleeps: what it has in its registers is not saved by a system call. */
static long double spin(void) {
    long double pi = 0;
    __asm__ volatile("fldpi\n1: pause\n cmpl $0, %1\n je 1b\n fstpt %0" : "=m"(pi) : "m"(over) : "cc");
    return pi;
}

static void *body(void *argument) {
    static unsigned int words[THREADS];
    const int own = (int)argument;
    words[own] = MAGIC + own;
    unsigned short selector = make_segment(&words[own]);
    __asm__ volatile("mov %0, %%fs" : : "r"(selector));
    pthread_barrier_wait(&barrier);
    const long double pi = spin();
    check(fs_selector() == selector, "thread %d: selector %#x", own, fs_selector());
    check(through_fs() == MAGIC + (unsigned)own, "thread %d: %#x behind its segment", own, through_fs());
    check(pi > 3.14159265358979L && pi < 3.1415926535898L, "thread %d: the x87 stack has changed", own);
    struct user_desc area = {.entry_number = selector >> 3};
    must(syscall(SYS_get_thread_area, &area));
    check(area.base_addr == (unsigned int)&words[own] && area.limit == 1 && area.limit_in_pages && area.useable, "thread %d: its segment is at %#x now", own, area.base_addr);
    return NULL;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    pthread_t threads[THREADS];
    unsigned short code, data, stack;
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    for (int i = 0; i < THREADS; i++)
        must(pthread_create(&threads[i], NULL, body, (void *)i) ? -1 : 0);
    pthread_barrier_wait(&barrier);
    test_daemon();
    test_waitsig();
    over = 1;
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    __asm__ volatile("mov %%cs, %0\n mov %%ds, %1\n mov %%ss, %2" : "=r"(code), "=r"(data), "=r"(stack));
    check(code == 0x23 && data == 0x2b && stack == 0x2b, "segments %#x %#x %#x", code, data, stack);
    /* What the C library has in its segment goes on, and is copied by fork. */
    pid_t child = must(fork());
    if (!child)
        _exit(errno == 12345 ? 1 : 0);
    expect_wait_status(child, 0);
    return pass();
}
