/* What the end of a process does to semaphores (SEM_UNDO): it has taken one, given two, and ends after the restore. */
#include "zdtm.h"

#include <pthread.h>
#include <sys/ipc.h>
#include <sys/sem.h>

static int set;

static void *idle(void *argument) {
    pause();
    return argument;
}

static void change(unsigned short number, short by) {
    struct sembuf one = {.sem_num = number, .sem_op = by, .sem_flg = SEM_UNDO};
    must(semop(set, &one, 1));
}

static int holder(void *threads) {
    pthread_t thread;
    if (threads)
        must(pthread_create(&thread, NULL, idle, NULL) ? -1 : 0);
    change(0, -1);
    change(1, 2);
    child_wait();
    return 0;
}

static void expect(int first, int second, const char *when) {
    int now[2] = {must(semctl(set, 0, GETVAL)), must(semctl(set, 1, GETVAL))};
    check(now[0] == first && now[1] == second, "%s: %d and %d, not %d and %d", when, now[0], now[1], first, second);
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    set = must(semget(IPC_PRIVATE, 3, IPC_CREAT | 0600));
    union {
        unsigned short *values;
    } values = {(unsigned short[]){2, 0, 7}};
    must(semctl(set, 0, SETALL, values));
    pid_t plain = spawn(holder, NULL), threaded = spawn(holder, &set);
    expect(0, 4, "before");
    test_daemon();
    test_waitsig();
    expect(0, 4, "after");
    finish_child(plain);
    expect(1, 2, "behind the end of one");
    finish_child(threaded);
    expect(2, 0, "behind the end of both");
    must(semctl(set, 0, IPC_RMID));
    return pass();
}
