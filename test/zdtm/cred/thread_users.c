/* Threads of one process that are different users (raw system calls, as some servers do). */
#include "zdtm.h"

#include <grp.h>
#include <pthread.h>

#define THREADS 4
static pthread_barrier_t barrier;

static void *body(void *argument) {
    uid_t id = 1000 + (long)argument, r, e, s;
    gid_t groups[2] = {id + 5000, id + 6000}, found[4];
    must(syscall(SYS_setgroups, 2, groups));
    must(syscall(SYS_setresgid, id, id + 100, id + 200));
    must(syscall(SYS_setresuid, id, id + 100, id + 200));
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    check(!getresuid(&r, &e, &s) && r == id && e == id + 100 && s == id + 200, "user ids %d %d %d", r, e, s);
    check(!getresgid(&r, &e, &s) && r == id && e == id + 100 && s == id + 200, "group ids %d %d %d", r, e, s);
    check(getgroups(4, found) == 2 && !memcmp(groups, found, sizeof(groups)), "groups");
    return NULL;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    pthread_t threads[THREADS];
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    for (long i = 0; i < THREADS; i++)
        must(pthread_create(&threads[i], NULL, body, (void *)i) ? -1 : 0);
    pthread_barrier_wait(&barrier);
    test_daemon();
    test_waitsig();
    check(getuid() == 0 && geteuid() == 0, "the leader's user is %d", getuid());
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    return pass();
}
