/* A process tree that runs as nobody, without any capability, with files, threads and children. */
#include "zdtm.h"

#include <grp.h>
#include <pthread.h>

#define NOBODY 65534
static pthread_barrier_t barrier;

static void *body(void *unused) {
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    check(getuid() == NOBODY && geteuid() == NOBODY, "the thread's user is %d", getuid());
    return unused;
}

static int child_body(void *unused) {
    (void)unused;
    child_wait();
    check(getuid() == NOBODY && geteuid() == NOBODY, "the child's user is %d", getuid());
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    int secret = must(open(test_filename, O_CREAT | O_RDWR, 0600));
    must(setgroups(0, NULL));
    must(setresgid(NOBODY, NOBODY, NOBODY));
    must(setresuid(NOBODY, NOBODY, NOBODY));
    pthread_t thread;
    pthread_barrier_init(&barrier, NULL, 2);
    must(pthread_create(&thread, NULL, body, NULL) ? -1 : 0);
    pthread_barrier_wait(&barrier);
    pid_t child = spawn(child_body, NULL);
    int dumpable = prctl(PR_GET_DUMPABLE);
    test_daemon();
    test_waitsig();
    uid_t r, e, s;
    check(!getresuid(&r, &e, &s) && r == NOBODY && e == NOBODY && s == NOBODY, "user ids");
    check(getgroups(0, NULL) == 0, "groups");
    check(prctl(PR_GET_DUMPABLE) == dumpable, "dumpable is %d", prctl(PR_GET_DUMPABLE));
    check(write(secret, "x", 1) == 1, "a file that only root may open cannot be written any more");
    check(open(test_filename, O_RDONLY) == -1 && errno == EACCES, "it can be opened");
    check(setuid(0) == -1, "could become root");
    check(!strcmp(proc_value("/proc/self/status", "CapPrm") ?: "", "0000000000000000"), "has capabilities");
    pthread_barrier_wait(&barrier);
    pthread_join(thread, NULL);
    finish_child(child);
    return pass();
}
