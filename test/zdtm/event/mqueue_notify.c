/* Registered notifications of POSIX message queues: by signal with its value, without signal, by a thread; of an empty
 * queue and of one with messages, which must not be set off by the checkpoint and whose long messages stay whole. */
#include "zdtm.h"

#include <dirent.h>
#include <mqueue.h>
#include <pthread.h>
#include <semaphore.h>

#define LONG 8000

static volatile sig_atomic_t signals, last_value;
static sem_t called;
static int thread_value;

static void on_signal(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    signals++;
    last_value = info->si_code == SI_MESGQ ? info->si_int : -1;
}

static void on_thread(union sigval value) {
    thread_value = value.sival_int;
    sem_post(&called);
}

/* libc's thread, which waits for the socket of SIGEV_THREAD, has settled. */
static void wait_for_helper(void) {
    DIR *tasks = opendir("/proc/self/task");
    for (struct dirent *entry; (entry = readdir(tasks));)
        if (atoi(entry->d_name) > 0 && atoi(entry->d_name) != getpid())
            wait_until_asleep(atoi(entry->d_name));
    closedir(tasks);
}

static mqd_t queue(long size) {
    char name[64];
    struct mq_attr attributes = {.mq_maxmsg = 8, .mq_msgsize = size};
    snprintf(name, sizeof(name), "/zdtm-%ld", (long)now_ns(CLOCK_REALTIME));
    mqd_t fd = must(mq_open(name, O_CREAT | O_RDWR | O_NONBLOCK, 0600, &attributes));
    must(mq_unlink(name));
    return fd;
}

static void expect(mqd_t fd, size_t length, char byte, unsigned priority) {
    static char text[LONG];
    unsigned found;
    check(mq_receive(fd, text, sizeof(text), &found) == (ssize_t)length && found == priority, "a message of priority %u",
          priority);
    check(all_bytes_are(text, byte, length), "contents of a message");
}

static void drain(mqd_t fd) {
    static char text[LONG];
    expect(fd, LONG, 'l', 7);
    expect(fd, 1, 'a', 3);
    expect(fd, 2, 'b', 3);
    expect(fd, 0, 0, 0);
    check(mq_receive(fd, text, sizeof(text), NULL) == -1 && errno == EAGAIN, "more messages");
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    must(sem_init(&called, 0, 0));
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
    must(sigaction(SIGUSR1, &action, NULL));
    mqd_t empty = queue(64), filled = queue(LONG), silent = queue(64), threaded = queue(64);
    static char text[LONG];
    memset(text, 'l', LONG);
    must(mq_send(filled, "a", 1, 3));
    must(mq_send(filled, "", 0, 0));
    must(mq_send(filled, text, LONG, 7));
    must(mq_send(filled, "bb", 2, 3));
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 4711};
    must(mq_notify(empty, &event));
    event.sigev_value.sival_int = 815;
    must(mq_notify(filled, &event));
    event.sigev_notify = SIGEV_NONE;
    must(mq_notify(silent, &event));
    struct sigevent thread = {
        .sigev_notify = SIGEV_THREAD, .sigev_notify_function = on_thread, .sigev_value.sival_int = 99};
    must(mq_notify(threaded, &thread));
    wait_for_helper();
    test_daemon();
    test_waitsig();
    check(signals == 0, "a notification was set off by the checkpoint");
    event.sigev_notify = SIGEV_SIGNAL;
    check(mq_notify(silent, &event) == -1 && errno == EBUSY, "the silent registration is gone");
    must(mq_send(empty, "x", 1, 0));
    check(signals == 1 && last_value == 4711, "empty queue: %d signals, value %d", signals, last_value);
    must(mq_send(empty, "y", 1, 0));
    check(signals == 1, "notified twice");
    drain(filled);
    must(mq_send(filled, "x", 1, 0));
    check(signals == 2 && last_value == 815, "filled queue: %d signals, value %d", signals, last_value);
    must(mq_send(threaded, "x", 1, 0));
    struct timespec until;
    must(clock_gettime(CLOCK_REALTIME, &until));
    until.tv_sec += 10;
    check(sem_timedwait(&called, &until) == 0 && thread_value == 99, "the thread was not called");
    return pass();
}
