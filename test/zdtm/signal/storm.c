/* Signals that arrive all the time, from timers and from a child, in threads that compute and in ones that sleep. */
#include "zdtm.h"

#include <pthread.h>
#include <sys/time.h>

static volatile unsigned long handled[65];
static void on_signal(int number) {
    __atomic_add_fetch(&handled[number], 1, __ATOMIC_RELAXED);
}

static int sender(void *unused) {
    (void)unused;
    pid_t target = getppid();
    child_ready();
    unsigned sent = 0;
    while (test_go()) {
        union sigval value = {.sival_int = sent};
        /* EAGAIN: the queue is full; kept under control by waiting. */
        if (sigqueue(target, 40, value) == 0)
            sent++;
        if (sent % 64 == 0)
            sleep_ms(1);
    }
    return sent > 0 ? 0 : 1;
}

static void *body(void *sleeping) {
    while (test_go()) {
        if (sleeping)
            sleep_ms(2);
        else
            for (volatile int i = 0; i < 10000; i++)
                continue;
    }
    return NULL;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    signal(40, on_signal);
    signal(SIGALRM, on_signal);
    struct itimerval interval = {{0, 1000}, {0, 1000}};
    must(setitimer(ITIMER_REAL, &interval, NULL));
    pthread_t threads[2];
    for (long i = 0; i < 2; i++)
        must(pthread_create(&threads[i], NULL, body, (void *)i) ? -1 : 0);
    pid_t child = spawn(sender, NULL);
    test_daemon();
    test_waitsig();
    unsigned long alarms = handled[SIGALRM], queued = handled[40];
    for (int i = 0; i < 2000 && (handled[SIGALRM] < alarms + 5 || handled[40] < queued + 5); i++)
        sleep_ms(1);
    check(handled[SIGALRM] >= alarms + 5 && handled[40] >= queued + 5, "no signals any more");
    must(kill(child, SIGTERM));
    int status;
    while (waitpid(child, &status, 0) == -1 && errno == EINTR)
        continue;
    check(status == 0, "sender: wait status %#x", status);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    return pass();
}
