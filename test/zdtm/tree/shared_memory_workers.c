/* Processes of one address space that have children, threads, a session and descriptors of their own. */
#include "zdtm.h"

#include <pthread.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum { kWorker, kNested, kThread, kForked, kRoles };

static volatile int ready[kRoles], answer[kRoles], phase, forked_sees;
static pid_t pids[kRoles], session;
static uint8_t stacks[kRoles][65536] __attribute__((aligned(4096)));

/* All of them run on a borrowed C library state: only system calls. */
static void wait_for_phase(int wanted) {
    while (__atomic_load_n(&phase, __ATOMIC_SEQ_CST) < wanted)
        syscall(SYS_nanosleep, &(struct timespec){0, 1000000}, NULL);
}
static void say(volatile int *word, int value) {
    __atomic_store_n(word, value, __ATOMIC_SEQ_CST);
}

static int body_of_thread(void *argument) {
    say(&ready[kThread], 1);
    wait_for_phase(1);
    say(&answer[kThread], syscall(SYS_getpid) == pids[kWorker] && syscall(SYS_gettid) == pids[kThread] ? 1 : 2);
    syscall(SYS_exit, 21); /* as its leader: whoever is last says what wait(2) tells */
    return argument != NULL;
}

/* A copy of the memory: what it writes nobody sees, and the other way round. */
static void be_forked(int out) {
    char byte = 0;
    forked_sees = 1;
    if (syscall(SYS_write, out, &byte, 1) != 1 || syscall(SYS_read, out, &byte, 1) != 1)
        syscall(SYS_exit_group, 2);
    syscall(SYS_exit_group, forked_sees == 1 && phase == 0 && byte == 'x' ? 0 : 1);
}

static int nested(void *argument) {
    int pair[2], status = 0;
    char byte;
    if (syscall(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, pair) < 0)
        return 1;
    long child = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (child == 0)
        be_forked(pair[1]);
    pids[kForked] = (pid_t)child;
    syscall(SYS_close, pair[1]);
    if (syscall(SYS_read, pair[0], &byte, 1) != 1)
        return 1;
    forked_sees = 7;
    say(&ready[kNested], 1);
    wait_for_phase(1);
    syscall(SYS_write, pair[0], "x", 1);
    long waited = syscall(SYS_wait4, child, &status, 0, NULL);
    say(&answer[kForked], waited == child && status == 0 && forked_sees == 7 ? 1 : 2);
    say(&answer[kNested], syscall(SYS_getppid) == pids[kWorker] ? 1 : 2);
    syscall(SYS_exit, 22);
    return argument != NULL;
}

static int worker(void *argument) {
    int status = 0;
    syscall(SYS_setsid);
    syscall(SYS_dup2, 1, 77);
    syscall(SYS_close, 76);
    pids[kThread] = clone(body_of_thread, stacks[kThread] + sizeof(stacks[kThread]),
                          CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM, NULL);
    pids[kNested] = clone(nested, stacks[kNested] + sizeof(stacks[kNested]), CLONE_VM | CLONE_FILES | SIGCHLD, NULL);
    say(&ready[kWorker], 1);
    wait_for_phase(1);
    long waited = syscall(SYS_wait4, pids[kNested], &status, 0, NULL);
    int fine = waited == pids[kNested] && status == 22 << 8 && syscall(SYS_getsid, 0) == session &&
               syscall(SYS_fcntl, 77, F_GETFD) >= 0 && syscall(SYS_fcntl, 76, F_GETFD) < 0;
    say(&answer[kWorker], fine ? 1 : 2);
    syscall(SYS_exit, 21);
    return argument != NULL;
}

static void *maker(void *argument) {
    pids[kWorker] = must(clone(worker, stacks[kWorker] + sizeof(stacks[kWorker]), CLONE_VM | SIGCHLD, NULL));
    while (__atomic_load_n(&phase, __ATOMIC_SEQ_CST) == 0)
        usleep(1000);
    int status = 0;
    check(waitpid(pids[kWorker], &status, __WNOTHREAD) == pids[kWorker], "the worker is not this thread's child");
    check(status == 21 << 8, "the worker ended with %#x", status);
    return argument;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    pthread_t thread;
    must(dup2(0, 76));
    must(pthread_create(&thread, NULL, maker, NULL) ? -1 : 0);
    while (!ready[kWorker] || !ready[kNested] || !ready[kThread])
        sleep_ms(1);
    session = pids[kWorker];
    test_daemon();
    test_waitsig();
    say(&phase, 1);
    pthread_join(thread, NULL);
    for (int i = 0; i < 1000 && !answer[kThread]; i++)
        sleep_ms(1);
    for (int role = 0; role < kRoles; role++)
        check(answer[role] == 1, "process or thread %d: %d", role, answer[role]);
    check(fcntl(76, F_GETFD) >= 0 && fcntl(77, F_GETFD) < 0, "descriptors are not the worker's own");
    return pass();
}
