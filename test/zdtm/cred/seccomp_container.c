/* Filters as container engines give them: with privileges, which the program has dropped since, and without
 * no_new_privs. */
#include "seccomp.h"

#include <pthread.h>
#include <sys/prctl.h>

static void *body(void *argument) {
    test_waitsig();
    check(answer_of(SYS_getppid) == 77, "the thread is not filtered");
    return argument;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    must(deny(SYS_getppid, 77, 0));
    must(deny(SYS_getpgrp, 78, SECCOMP_FILTER_FLAG_LOG));
    must(setresgid(1234, 1234, 1234));
    must(setresuid(1234, 1234, 1234));
    must(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
    pthread_t thread;
    must(pthread_create(&thread, NULL, body, NULL) ? -1 : 0);
    test_daemon();
    test_waitsig();
    pthread_join(thread, NULL);
    check(answer_of(SYS_getppid) == 77, "the first filter is lost");
    check(answer_of(SYS_getpgrp) == 78, "the second filter is lost");
    check(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0, "no_new_privs is set");
    return pass();
}
