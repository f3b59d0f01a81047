/* Threads with a working directory, a root directory and a umask of their own (unshare), as Samba's pools have. */
#include "zdtm.h"

#include <pthread.h>

static pthread_barrier_t barrier;

static void *body(void *argument) {
    char text[4096];
    must(unshare(CLONE_FS));
    must(chdir("/dev"));
    umask(0321);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    check(getcwd(text, sizeof(text)) && !strcmp(text, "/dev"), "the thread is in %s", text);
    check(umask(0) == 0321, "umask of the thread");
    return argument;
}

/* "/" is elsewhere for this one. */
static void *body_elsewhere(void *argument) {
    char text[4096];
    must(unshare(CLONE_FS));
    must(mkdir("elsewhere", 0755));
    must(mkdir("elsewhere/inside", 0755));
    must(chroot("elsewhere"));
    must(chdir("/inside"));
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    check(getcwd(text, sizeof(text)) && !strcmp(text, "/inside"), "the second thread is in %s", text);
    check(access("/inside", F_OK) == 0 && access("/dev", F_OK) == -1, "its root directory");
    check(umask(0) == 011, "its umask");
    return argument;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    pthread_t thread, second;
    char before[4096], after[4096];
    must(getcwd(before, sizeof(before)) ? 0 : -1);
    umask(011);
    pthread_barrier_init(&barrier, NULL, 3);
    must(pthread_create(&thread, NULL, body, NULL) ? -1 : 0);
    must(pthread_create(&second, NULL, body_elsewhere, NULL) ? -1 : 0);
    pthread_barrier_wait(&barrier);
    test_daemon();
    test_waitsig();
    check(getcwd(after, sizeof(after)) && !strcmp(before, after), "the leader is in %s", after);
    check(umask(0) == 011, "umask of the leader");
    pthread_barrier_wait(&barrier);
    pthread_join(thread, NULL);
    pthread_join(second, NULL);
    return pass();
}
