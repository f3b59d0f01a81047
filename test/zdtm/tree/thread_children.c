/* Children that were forked by a thread other than the leader: only that thread finds them with __WNOTHREAD, and its
 * end is what their parent-death signal tells. */
#include "zdtm.h"

#include <pthread.h>

static pthread_barrier_t barrier;
static pid_t child;
static volatile int parent_died;

static void on_parent_death(int number) {
    (void)number;
    parent_died = 1;
}

static int body(void *unused) {
    (void)unused;
    signal(SIGUSR1, on_parent_death);
    must(prctl(PR_SET_PDEATHSIG, SIGUSR1));
    child_ready();
    while (!parent_died && test_go())
        sleep_ms(1);
    test_waitsig();
    return parent_died ? 0 : 5;
}

static void *thread_body(void *unused) {
    child = spawn(body, NULL);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    check(waitpid(child, NULL, __WNOTHREAD | WNOHANG) == 0, "the thread's child is not its child");
    return unused;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    pthread_t thread;
    pthread_barrier_init(&barrier, NULL, 2);
    must(pthread_create(&thread, NULL, thread_body, NULL) ? -1 : 0);
    pthread_barrier_wait(&barrier);
    test_daemon();
    test_waitsig();
    check(waitpid(child, NULL, __WNOTHREAD | WNOHANG) == -1 && errno == ECHILD, "the child belongs to the leader");
    pthread_barrier_wait(&barrier);
    pthread_join(thread, NULL);
    /* The signal of the thread's end is on its way; then the child waits for SIGTERM. */
    sleep_ms(50);
    finish_child(child);
    return pass();
}
