/* Processes that share the address space and signal handlers without being threads of each other. */
#include "zdtm.h"

static volatile int counter, phase;
static uint8_t stacks[3][65536] __attribute__((aligned(4096)));

static void on_usr1(int number) {
    counter += number;
}
static void on_usr2(int number) {
    counter -= number;
}

/* Runs on a borrowed C library state: only system calls. */
static int body(void *argument) {
    long number = (long)argument;
    __atomic_add_fetch(&phase, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&phase, __ATOMIC_SEQ_CST) != 100 + number)
        syscall(SYS_nanosleep, &(struct timespec){0, 1000000}, NULL);
    struct sigaction action = {.sa_handler = on_usr2};
    if (number == 1)
        sigaction(SIGUSR1, &action, NULL);
    __atomic_store_n(&phase, 200 + number, __ATOMIC_SEQ_CST);
    syscall(SYS_exit, 10 + number);
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    signal(SIGUSR1, on_usr1);
    static const int kFlags[] = {CLONE_VM, CLONE_VM | CLONE_SIGHAND, CLONE_VM | CLONE_SIGHAND | CLONE_FS | CLONE_FILES};
    pid_t pids[3];
    for (long i = 0; i < 3; i++)
        pids[i] = must(clone(body, stacks[i] + sizeof(stacks[i]), kFlags[i] | SIGCHLD, (void *)i));
    while (__atomic_load_n(&phase, __ATOMIC_SEQ_CST) != 3)
        sleep_ms(1);
    test_daemon();
    test_waitsig();
    for (int i = 0; i < 3; i++) {
        __atomic_store_n(&phase, 100 + i, __ATOMIC_SEQ_CST);
        expect_wait_status(pids[i], (10 + i) << 8);
        check(phase == 200 + i, "memory is not shared with child %d", i);
    }
    raise(SIGUSR1);
    check(counter == -SIGUSR1, "signal handlers are not shared: %d", counter);
    return pass();
}
