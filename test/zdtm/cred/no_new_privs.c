/* no_new_privs, of a whole process and of a single thread. */
#include "zdtm.h"

#include <pthread.h>

static pthread_barrier_t barrier;

static void *body(void *unused) {
    must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    check(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1, "the thread's attribute is lost");
    return unused;
}

static int child_body(void *unused) {
    (void)unused;
    must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    child_wait();
    check(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1, "the child's attribute is lost");
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    pthread_t thread;
    pthread_barrier_init(&barrier, NULL, 2);
    must(pthread_create(&thread, NULL, body, NULL) ? -1 : 0);
    pthread_barrier_wait(&barrier);
    pid_t child = spawn(child_body, NULL);
    test_daemon();
    test_waitsig();
    check(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0, "the leader got the attribute");
    pthread_barrier_wait(&barrier);
    pthread_join(thread, NULL);
    finish_child(child);
    return pass();
}
