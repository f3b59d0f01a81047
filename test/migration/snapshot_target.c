// A program that one look at its memory can find torn: a thread writes one number after the other into every page of
// several areas, always in the same order, so that at any instant the pages up to some place hold N and the others N-1.
// Another one looks for children that are not its own. At SIGUSR1 it reports "good" or "bad WHAT".
// usage: snapshot_target LOG MEGABYTES [reaper|slow|userfaultfd|waiter]
//   slow: few of the pages are written in a tenth of a second; waiter: a thread waits for children of every kind
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, AREAS = 4 };

static char *areas[AREAS];
static size_t pages;
static atomic_int strangers, told;
static int slow;

static void *write_all(void *arg) {
    (void)arg;
    for (uint64_t number = 2;; number++)
        for (int area = 0; area < AREAS; area++)
            for (size_t page = 0; page < pages; page++) {
                *(volatile uint64_t *)(areas[area] + page * PAGE) = number;
                if (slow && page % 8 == 0)
                    usleep(100);
            }
    return NULL;
}

static void *wait_for_all(void *arg) {
    for (int status;;)
        waitpid(-1, &status, __WALL);
    return arg;
}

static void *look_for_children(void *arg) {
    (void)arg;
    for (;;) {
        int status;
        if (waitpid(-1, &status, __WALL | WNOHANG) != -1 || errno != ECHILD)
            strangers++;
        usleep(100);
    }
    return NULL;
}

static void on_child(int signal) {
    (void)signal;
    told++;
}

int main(int argc, char **argv) {
    const int report = open(argv[1], O_WRONLY | O_CREAT | O_APPEND, 0644);
    pages = (size_t)(argc > 2 ? atoi(argv[2]) : 8) << 8;
    const char *mode = argc > 3 ? argv[3] : "";
    slow = strcmp(mode, "slow") == 0;
    if (strcmp(mode, "reaper") == 0)
        prctl(PR_SET_CHILD_SUBREAPER, 1);
    if (strcmp(mode, "userfaultfd") == 0 && syscall(SYS_userfaultfd, O_CLOEXEC | 1) < 0)
        return 2;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGCHLD, on_child);
    for (int area = 0; area < AREAS; area++) {
        const int kind = area == 3 ? MAP_SHARED : MAP_PRIVATE;
        areas[area] = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, kind | MAP_ANONYMOUS, -1, 0);
        madvise(areas[area], pages * PAGE, MADV_NOHUGEPAGE);
        for (size_t page = 0; page < pages; page++)
            *(uint64_t *)(areas[area] + page * PAGE) = 1;
    }
    madvise(areas[1], pages * PAGE, MADV_DONTFORK);
    madvise(areas[2], pages * PAGE, MADV_WIPEONFORK);
    pthread_t writer, looker;
    pthread_create(&writer, NULL, write_all, NULL);
    if (strcmp(mode, "waiter") == 0) {
        // A child that stays: without one waiting would end at once.
        if (fork() == 0)
            for (;;)
                pause();
        pthread_create(&looker, NULL, wait_for_all, NULL);
    } else
        pthread_create(&looker, NULL, look_for_children, NULL);
    dprintf(report, "%d areas %p %p %p\n", getpid(), (void *)areas[0], (void *)areas[1], (void *)areas[2]);
    dprintf(report, "%d ready\n", getpid());
    for (int number = 0; sigwait(&set, &number) == 0;) {
        if (strangers || told)
            dprintf(report, "%d bad %d children that are not its own, %d signals\n", getpid(), strangers, told);
        else
            dprintf(report, "%d good\n", getpid());
    }
}
