/* A thread with a working directory, umask and descriptor table of its own (unshare): the images have no place for it,
 * so the dump is refused. */
#include "zdtm.h"

#include <pthread.h>

static pthread_barrier_t barrier;

static void *body(void *argument) {
    char text[4096];
    must(unshare(CLONE_FS | CLONE_FILES));
    must(chdir("/dev"));
    umask(0321);
    must(dup2(0, 77));
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    check(getcwd(text, sizeof(text)) && !strcmp(text, "/dev"), "the thread is in %s", text);
    check(umask(0) == 0321, "umask of the thread");
    check(fcntl(77, F_GETFD) != -1, "descriptor of the thread");
    return argument;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    pthread_t thread;
    char before[4096], after[4096];
    must(getcwd(before, sizeof(before)) ? 0 : -1);
    umask(011);
    pthread_barrier_init(&barrier, NULL, 2);
    must(pthread_create(&thread, NULL, body, NULL) ? -1 : 0);
    pthread_barrier_wait(&barrier);
    test_daemon();
    test_waitsig();
    check(getcwd(after, sizeof(after)) && !strcmp(before, after), "the leader is in %s", after);
    check(umask(0) == 011, "umask of the leader");
    check(fcntl(77, F_GETFD) == -1, "the leader has the thread's descriptor");
    pthread_barrier_wait(&barrier);
    pthread_join(thread, NULL);
    return pass();
}
