/* Modes of the processor per thread: time stamp counter, speculation control, system call user dispatch. */
#include "zdtm.h"

#include <pthread.h>

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#define PR_SYS_DISPATCH_OFF 0
#define PR_SYS_DISPATCH_ON 1
#endif

static pthread_barrier_t barrier;
static volatile int trapped;
static volatile uint8_t selector;

static void on_sys(int number, siginfo_t *info, void *context) {
    (void)number;
    (void)context;
    selector = 0; /* allow */
    trapped = info->si_syscall;
}

static void *tsc(void *unused) {
    int mode = 0;
    must(prctl(PR_SET_TSC, PR_TSC_SIGSEGV));
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    check(!prctl(PR_GET_TSC, &mode) && mode == PR_TSC_SIGSEGV, "time stamp counter mode %d", mode);
    prctl(PR_SET_TSC, PR_TSC_ENABLE);
    return unused;
}

static void *dispatch(void *unused) {
    must(prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, 0L, 0L, &selector));
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    selector = 1; /* block */
    syscall(SYS_getppid);
    check(trapped == SYS_getppid, "the call was not dispatched: %d", trapped);
    selector = 0;
    return unused;
}

static void *speculation(void *unused) {
    long before = prctl(PR_SET_SPECULATION_CTRL, PR_SPEC_STORE_BYPASS, PR_SPEC_DISABLE, 0, 0);
    before = prctl(PR_GET_SPECULATION_CTRL, PR_SPEC_STORE_BYPASS, 0, 0, 0);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    check(prctl(PR_GET_SPECULATION_CTRL, PR_SPEC_STORE_BYPASS, 0, 0, 0) == before, "speculation control");
    return unused;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    struct sigaction action = {.sa_sigaction = on_sys, .sa_flags = SA_SIGINFO};
    must(sigaction(SIGSYS, &action, NULL));
    pthread_t threads[3];
    pthread_barrier_init(&barrier, NULL, 4);
    must(pthread_create(&threads[0], NULL, tsc, NULL) ? -1 : 0);
    must(pthread_create(&threads[1], NULL, dispatch, NULL) ? -1 : 0);
    must(pthread_create(&threads[2], NULL, speculation, NULL) ? -1 : 0);
    pthread_barrier_wait(&barrier);
    test_daemon();
    test_waitsig();
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    return pass();
}
