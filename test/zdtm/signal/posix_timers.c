/* POSIX timers: ids with gaps, every clock and kind of notification, intervals, remaining times, expirations that are blocked. */
#include "zdtm.h"

#include <pthread.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

struct kind {
    clockid_t clock;
    int notify;
    int number;
    struct itimerspec time;
    bool absolute;
};

#define S(s)                                                                                                           \
    { s, 0 }
#define MS(ms)                                                                                                         \
    { 0, (ms)*1000000 }
static const struct kind kKinds[] = {
    {CLOCK_MONOTONIC, SIGEV_SIGNAL, 40, {S(0), S(1000)}, false},
    {CLOCK_REALTIME, SIGEV_SIGNAL, 41, {S(7), S(500)}, false},
    {CLOCK_BOOTTIME, SIGEV_SIGNAL, 42, {MS(10), MS(10)}, false},
    {CLOCK_MONOTONIC, SIGEV_NONE, 0, {S(3), S(300)}, false},
    {CLOCK_MONOTONIC, SIGEV_THREAD_ID, 43, {MS(10), MS(10)}, false},
    {CLOCK_PROCESS_CPUTIME_ID, SIGEV_SIGNAL, 44, {S(0), S(100)}, false},
    {CLOCK_MONOTONIC, SIGEV_SIGNAL, 45, {S(0), S(0)}, false}, /* disarmed */
    {CLOCK_REALTIME, SIGEV_SIGNAL, 46, {S(0), S(800)}, true},
    {CLOCK_TAI, SIGEV_SIGNAL, 47, {S(0), S(900)}, false},
    {CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGUSR1, {MS(1), MS(1)}, false}, /* blocked */
    {CLOCK_THREAD_CPUTIME_ID, SIGEV_SIGNAL, 48, {S(0), S(100)}, false},
};
#define COUNT ARRAY_SIZE(kKinds)

static int ids[COUNT];
static volatile int seen[65], value_of[65], seen_by_thread;
static volatile pid_t thread_id;
static volatile int stop;

static void on_timer(int number, siginfo_t *info, void *context) {
    (void)context;
    seen[number]++;
    value_of[number] = info->si_value.sival_int;
    if (number == 43 && gettid_() == thread_id)
        seen_by_thread++;
}

static void *body(void *unused) {
    thread_id = gettid_();
    while (!stop)
        sleep_ms(1);
    return unused;
}

static void create(size_t i) {
    const struct kind *kind = &kKinds[i];
    struct sigevent event = {.sigev_notify = kind->notify, .sigev_signo = kind->number};
    event.sigev_value.sival_int = 1000 + i;
    if (kind->notify == SIGEV_THREAD_ID)
        event.sigev_notify_thread_id = thread_id;
    must(syscall(SYS_timer_create, kind->clock, &event, &ids[i]));
    struct itimerspec time = kind->time;
    if (kind->absolute)
        time.it_value.tv_sec += now_ns(kind->clock) / 1000000000;
    must(syscall(SYS_timer_settime, ids[i], kind->absolute ? TIMER_ABSTIME : 0, &time, NULL));
    if (kind->notify != SIGEV_NONE && kind->number != SIGUSR1) {
        struct sigaction action = {.sa_sigaction = on_timer, .sa_flags = SA_SIGINFO | SA_RESTART};
        must(sigaction(kind->number, &action, NULL));
    }
}

static void check_timer(size_t i) {
    struct itimerspec now;
    const struct itimerspec *wanted = &kKinds[i].time;
    check(syscall(SYS_timer_gettime, ids[i], &now) == 0, "timer %zu (id %d) is gone", i, ids[i]);
    check(now.it_interval.tv_sec == wanted->it_interval.tv_sec &&
              now.it_interval.tv_nsec == wanted->it_interval.tv_nsec,
          "timer %zu: interval %ld.%09ld", i, now.it_interval.tv_sec, now.it_interval.tv_nsec);
    if (wanted->it_value.tv_sec == 0 && wanted->it_value.tv_nsec == 0)
        check(now.it_value.tv_sec == 0 && now.it_value.tv_nsec == 0, "timer %zu is armed", i);
    else if (wanted->it_value.tv_sec)
        check(now.it_value.tv_sec <= wanted->it_value.tv_sec && now.it_value.tv_sec > wanted->it_value.tv_sec - 90,
              "timer %zu: %ld s left of %ld", i, now.it_value.tv_sec, wanted->it_value.tv_sec);
    else
        check(now.it_value.tv_sec == 0 && now.it_value.tv_nsec <= wanted->it_value.tv_nsec && now.it_value.tv_nsec > 0,
              "timer %zu: %ld ns left", i, now.it_value.tv_nsec);
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    pthread_t thread;
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    must(sigprocmask(SIG_BLOCK, &blocked, NULL));
    must(pthread_create(&thread, NULL, body, NULL) ? -1 : 0);
    while (!thread_id)
        sleep_ms(1);
    for (size_t i = 0; i < COUNT; i++) {
        int other[3];
        for (int j = 0; j < 3; j++)
            must(syscall(SYS_timer_create, CLOCK_MONOTONIC, NULL, &other[j]));
        create(i);
        for (int j = 0; j < 3; j++)
            must(syscall(SYS_timer_delete, other[j]));
    }
    sleep_ms(20);
    test_daemon();
    test_waitsig();

    for (size_t i = 0; i < COUNT; i++)
        check_timer(i);
    memset((void *)seen, 0, sizeof(seen));
    seen_by_thread = 0;
    for (int i = 0; i < 2000 && (seen[42] < 3 || seen_by_thread < 3); i++)
        sleep_ms(1);
    check(seen[42] >= 3 && value_of[42] == 1002, "periodic timer: %d ticks, value %d", seen[42], value_of[42]);
    check(seen_by_thread >= 3 && seen_by_thread == seen[43], "timer of a thread: %d of %d ticks", seen_by_thread,
          seen[43]);
    siginfo_t info;
    check(sigtimedwait(&blocked, &info, &(struct timespec){2, 0}) == SIGUSR1, "blocked timer signal");
    check(info.si_code == SI_TIMER && info.si_value.sival_int == 1009 && info.si_timerid == ids[9],
          "its details: id %d value %d", info.si_timerid, info.si_value.sival_int);
    check(sigtimedwait(&blocked, &info, &(struct timespec){2, 0}) == SIGUSR1, "the blocked timer does not go on");
    check(syscall(SYS_timer_getoverrun, ids[9]) >= 0, "timer_getoverrun");
    stop = 1;
    pthread_join(thread, NULL);
    return pass();
}
