/* Numbers of processes that the kernel keeps for a task in a pid namespace below the root's: owners of files, tasks of
 * pidfds, senders of signals, threads of timers, foreground groups. */
#include "zdtm.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>

static volatile pid_t timer_thread;
static int ticks;

static void tick(int number, siginfo_t *info, void *context) {
    (void)number, (void)info, (void)context;
    timer_thread = gettid_();
    __atomic_add_fetch(&ticks, 1, __ATOMIC_SEQ_CST);
}

static void *wait_for_ticks(void *argument) {
    __atomic_store_n((pid_t *)argument, gettid_(), __ATOMIC_SEQ_CST);
    for (;;)
        pause();
    return NULL;
}

static int reader(void *argument) {
    (void)argument;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    must(setpgid(0, 0));
    child_wait();
    siginfo_t info;
    check(sigtimedwait(&set, &info, &(struct timespec){10, 0}) == SIGUSR1, "the signal is not there");
    check(info.si_pid == 1, "the signal comes from %d", info.si_pid);
    return 0;
}

static timer_t make_timer(pid_t thread) {
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN + 3};
    event._sigev_un._tid = thread;
    must(timer_create(CLOCK_MONOTONIC, &event, &timer));
    return timer;
}

static int init(void *argument) {
    (void)argument;
    must(setsid());
    int terminal = must(open("/dev/ptmx", O_RDWR | O_NOCTTY)), unlock = 0;
    must(ioctl(terminal, TIOCSPTLCK, &unlock));
    int slave = must(ioctl(terminal, TIOCGPTPEER, O_RDWR | O_NOCTTY));
    must(ioctl(slave, TIOCSCTTY, 0));
    signal(SIGTTOU, SIG_IGN);

    pid_t child = spawn(reader, NULL);
    must(tcsetpgrp(slave, child));
    must(kill(child, SIGUSR1));
    int owned[2];
    must(pipe(owned));
    must(fcntl(owned[0], F_SETOWN, child));
    int pidfd = must(syscall(SYS_pidfd_open, child, 0));

    struct sigaction action = {.sa_sigaction = tick, .sa_flags = SA_SIGINFO};
    sigaction(SIGRTMIN + 3, &action, NULL);
    pthread_t thread;
    pid_t tid = 0;
    must(-pthread_create(&thread, NULL, wait_for_ticks, &tid));
    while (!__atomic_load_n(&tid, __ATOMIC_SEQ_CST))
        sleep_ms(1);
    timer_t timer = make_timer(tid);

    child_wait();
    check(fcntl(owned[0], F_GETOWN) == child, "the pipe's owner is %d, not %d", fcntl(owned[0], F_GETOWN), child);
    check(tcgetpgrp(slave) == child, "the foreground group is %d, not %d", tcgetpgrp(slave), child);
    check(tcgetsid(slave) == 1, "the terminal's session is %d", tcgetsid(slave));
    must(timer_settime(timer, 0, &(struct itimerspec){.it_value = {0, 1000000}}, NULL));
    for (int i = 0; !__atomic_load_n(&ticks, __ATOMIC_SEQ_CST) && i < 1000; i++)
        sleep_ms(10);
    check(timer_thread == tid, "the timer has told thread %d, not %d", timer_thread, tid);
    check(syscall(SYS_pidfd_send_signal, pidfd, SIGTERM, NULL, 0) == 0, "the pidfd's task does not get a signal");
    siginfo_t info;
    check(waitid((idtype_t)3 /* P_PIDFD */, (id_t)pidfd, &info, WEXITED) == 0 && info.si_pid == child, "the pidfd is that of %d",
          info.si_pid);
    check(info.si_code == CLD_EXITED && info.si_status == 0, "it has ended with %d", info.si_status);
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    pid_t child = spawn_flags(SIGCHLD | CLONE_NEWPID, init, NULL);
    /* From around it the same one has another number. */
    int pidfd = must(syscall(SYS_pidfd_open, child, 0)), owned[2];
    must(pipe(owned));
    must(fcntl(owned[0], F_SETOWN, child));
    test_daemon();
    test_waitsig();
    check(fcntl(owned[0], F_GETOWN) == child, "the pipe's owner is %d, not %d", fcntl(owned[0], F_GETOWN), child);
    check(syscall(SYS_pidfd_send_signal, pidfd, 0, NULL, 0) == 0, "the pidfd's task is gone");
    finish_child(child);
    return pass();
}
