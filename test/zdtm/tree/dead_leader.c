/* A process whose first thread has ended while others live on. */
#include "zdtm.h"

#include <pthread.h>

static void *body(void *unused) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/task/%d/status", getpid());
    for (;;) {
        char *state = proc_value(path, "State:");
        if (state && state[0] == 'Z')
            break;
        sleep_ms(1);
    }
    pid_t tid = gettid_();
    test_daemon();
    test_waitsig();
    char *state = proc_value(path, "State:");
    check(state && state[0] == 'Z', "the leader is in state %s", state);
    check(gettid_() == tid && tid != getpid(), "thread id %d", gettid_());
    pass();
    exit(0);
    return unused;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    pthread_t thread;
    must(pthread_create(&thread, NULL, body, NULL) ? -1 : 0);
    pthread_exit(NULL);
}
