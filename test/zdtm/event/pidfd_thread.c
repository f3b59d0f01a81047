/* pidfd of a thread (PIDFD_THREAD). */
#include "abi.h"
#include "zdtm.h"

#include <poll.h>
#include <pthread.h>

static volatile pid_t tid;
static volatile int stop;

static void *body(void *unused) {
    tid = gettid_();
    while (!stop)
        sleep_ms(1);
    return unused;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    pthread_t thread;
    must(pthread_create(&thread, NULL, body, NULL) ? -1 : 0);
    while (!tid)
        sleep_ms(1);
    int fd = must(syscall(SYS_NR_pidfd_open, tid, O_EXCL /* PIDFD_THREAD */));
    test_daemon();
    test_waitsig();
    struct pollfd poll_fd = {fd, POLLIN, 0};
    check(poll(&poll_fd, 1, 0) == 0, "the thread is reported dead");
    check(fdinfo_value(fd, "Pid:", 10) == tid, "another thread");
    stop = 1;
    pthread_join(thread, NULL);
    check(poll(&poll_fd, 1, 2000) == 1, "the thread's end is not reported");
    return pass();
}
