/* A process whose first thread has ended while others live on: its files, memory and children are those of the others. */
#include "zdtm.h"

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/mman.h>

static volatile int beats;

static void *beat(void *unused) {
    for (;;) {
        beats++;
        sleep_ms(1);
    }
    return unused;
}

static char leader_state(void) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/task/%d/status", getpid());
    char *state = proc_value(path, "State:");
    return state ? state[0] : 0;
}

static void *body(void *unused) {
    while (leader_state() != 'Z')
        sleep_ms(1);
    pid_t tid = gettid_();
    pthread_t other;
    must(pthread_create(&other, NULL, beat, NULL) ? -1 : 0);
    int ends[2], set = must(epoll_create1(0));
    char byte = 0, *map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(map, 0x5c, 8192);
    must(pipe(ends));
    must(epoll_ctl(set, EPOLL_CTL_ADD, ends[0], &(struct epoll_event){EPOLLIN, {.u32 = 7}}));
    must((int)write(ends[1], "x", 1));
    pid_t child = must(fork());
    if (child == 0) {
        pause();
        _exit(1);
    }
    test_daemon();
    test_waitsig();
    struct epoll_event event;
    check(leader_state() == 'Z', "the leader is in state %c", leader_state());
    check(gettid_() == tid && tid != getpid(), "thread id %d", gettid_());
    check(epoll_wait(set, &event, 1, 0) == 1 && event.data.u32 == 7, "the set has no event");
    check(read(ends[0], &byte, 1) == 1 && byte == 'x', "the pipe lost its byte");
    check(map[0] == 0x5c && map[8191] == 0x5c, "memory has changed");
    int before = beats;
    while (beats < before + 3)
        sleep_ms(1);
    kill(child, SIGKILL);
    expect_wait_status(child, SIGKILL);
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
