/* Pending signals: shared and private queues with their full siginfo, several of one realtime signal in order. */
#include "zdtm.h"

#define ROUNDS 20

static void queue(pid_t tid, int number, int code, int value) {
    siginfo_t info = {.si_signo = number, .si_code = code};
    info.si_value.sival_int = value;
    info.si_pid = 4321 + value;
    info.si_uid = 8765;
    info.si_errno = 77;
    if (tid)
        must(syscall(SYS_rt_tgsigqueueinfo, getpid(), tid, number, &info));
    else
        must(syscall(SYS_rt_sigqueueinfo, getpid(), number, &info));
}

/* The C library's sigtimedwait() turns SI_TKILL into SI_USER. */
static int take(int number, siginfo_t *info) {
    uint64_t set = 1ULL << (number - 1);
    return syscall(SYS_rt_sigtimedwait, &set, info, &(struct timespec){0, 0}, sizeof(set));
}

/* Private signals are delivered first. */
static void expect(int number, int code, int value) {
    siginfo_t info;
    check(take(number, &info) == number, "signal %d is not pending", number);
    check(info.si_code == code, "signal %d: code %d instead of %d", number, info.si_code, code);
    if (code == SI_USER || code == SI_KERNEL)
        return;
    check(info.si_value.sival_int == value, "signal %d: value %d instead of %d", number, info.si_value.sival_int,
          value);
    check(info.si_pid == 4321 + value && info.si_uid == 8765 && info.si_errno == 77, "signal %d: details", number);
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    sigset_t blocked, pending_before, pending_after;
    sigfillset(&blocked);
    sigdelset(&blocked, SIGTERM);
    must(sigprocmask(SIG_SETMASK, &blocked, NULL));
    pid_t tid = gettid_();
    queue(0, SIGUSR1, SI_QUEUE, 1);
    queue(tid, SIGUSR1, SI_QUEUE, 2);
    queue(0, SIGCHLD, SI_MESGQ, 3);
    queue(tid, SIGSEGV, SI_TKILL, 4);
    for (int i = 0; i < ROUNDS; i++) {
        queue(0, 40, SI_QUEUE, i);
        queue(tid, 40, SI_ASYNCIO, 100 + i);
        queue(0, 64, SI_QUEUE, 200 + i);
    }
    must(kill(getpid(), SIGUSR2));
    must(raise(SIGHUP));
    must(sigpending(&pending_before));

    test_daemon();
    test_waitsig();

    must(sigpending(&pending_after));
    for (int number = 1; number <= 64; number++)
        check(sigismember(&pending_before, number) == sigismember(&pending_after, number), "pending set: signal %d",
              number);
    expect(SIGUSR1, SI_QUEUE, 2);
    expect(SIGUSR1, SI_QUEUE, 1);
    expect(SIGCHLD, SI_MESGQ, 3);
    expect(SIGSEGV, SI_TKILL, 4);
    for (int i = 0; i < ROUNDS; i++)
        expect(40, SI_ASYNCIO, 100 + i);
    for (int i = 0; i < ROUNDS; i++)
        expect(40, SI_QUEUE, i);
    for (int i = 0; i < ROUNDS; i++)
        expect(64, SI_QUEUE, 200 + i);
    expect(SIGUSR2, SI_USER, 0);
    siginfo_t info;
    check(take(SIGHUP, &info) == SIGHUP && info.si_code == SI_TKILL, "SIGHUP");
    check(info.si_pid == getpid(), "sender of SIGHUP");
    sigset_t left;
    must(sigpending(&left));
    for (int number = 1; number <= 64; number++)
        check(!sigismember(&left, number) || number == SIGTERM, "signal %d is pending once more", number);
    return pass();
}
