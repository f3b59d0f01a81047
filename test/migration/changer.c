// A program that changes its mappings while its memory is still on its way: it forks, moves, unmaps and forgets memory
// that it has not touched yet, and checks after each step that every page holds what it should. Steps are taken at
// each SIGUSR1; each reports "good" or "bad WHAT". usage: changer LOG MEGABYTES
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096 };

static size_t pages; // of each area
static int report;

static void fill(char *memory, uint64_t name) {
    for (size_t page = 0; page < pages; page++)
        *(uint64_t *)(memory + page * PAGE + 8 * (page % 512)) = name << 32 | page;
}

static int is(const char *memory, uint64_t name, size_t first, size_t count) {
    for (size_t page = first; page < first + count; page++, memory += PAGE)
        if (*(const uint64_t *)(memory + 8 * (page % 512)) != (name << 32 | page))
            return 0;
    return 1;
}

static int empty(const char *memory, size_t count) {
    for (size_t i = 0; i < count * PAGE; i++)
        if (memory[i])
            return 0;
    return 1;
}

static char *area(uint64_t name) {
    char *memory = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    madvise(memory, pages * PAGE, MADV_NOHUGEPAGE);
    fill(memory, name);
    return memory;
}

static void say(int good, const char *what) {
    dprintf(report, "%d %s %s\n", getpid(), good ? "good" : "bad", what);
}

/// A child sees the memory as it was, whatever the parent does next.
static int child_sees(const char *memory, uint64_t name) {
    pid_t child = fork();
    if (child == 0)
        _exit(is(memory, name, 0, pages) ? 0 : 1);
    int status = 1;
    waitpid(child, &status, 0);
    return status == 0;
}

static char *volatile toggled;
static void *toucher(void *arg) {
    (void)arg;
    for (size_t page = 0; page < pages; page++)
        if (*(volatile uint64_t *)(toggled + page * PAGE + 8 * (page % 512)) != ((uint64_t)9 << 32 | page))
            return (void *)1;
    return NULL;
}

int main(int argc, char **argv) {
    report = open(argv[1], O_WRONLY | O_CREAT | O_APPEND, 0644);
    pages = (size_t)(argc > 2 ? atoi(argv[2]) : 8) << 8;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    char *moved = area(1), *forgotten = area(2), *cut = area(3), *forked = area(4), *plain = area(5), *shrunk = area(6);
    char *over = area(7), *big = area(8);
    toggled = area(9);
    const size_t half = pages / 2;
    int number = 0;
    dprintf(report, "%d ready\n", getpid());
    sigwait(&set, &number);

    char *place = mmap(NULL, pages * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    char *now = mremap(moved + half * PAGE, half * PAGE, half * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, place);
    madvise(forgotten + half * PAGE, half * PAGE, MADV_DONTNEED);
    munmap(cut + half * PAGE, half * PAGE);
    char *fresh =
        mmap(cut + half * PAGE, half * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    say(child_sees(forked, 4), "a child of a task whose memory is on its way");
    pthread_t thread;
    pthread_create(&thread, NULL, toucher, NULL);
    say(is(now, 1, half, half) && is(moved, 1, 0, half), "moved memory");
    say(is(forgotten, 2, 0, half) && empty(forgotten + half * PAGE, half), "forgotten memory");
    say(is(cut, 3, 0, half) && empty(fresh, half), "memory mapped anew");
    shrunk = mremap(shrunk, pages * PAGE, half * PAGE, 0);
    say(is(shrunk, 6, 0, half), "shrunk memory");
    char *lies = mremap(big, pages * PAGE, pages * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, over);
    say(is(lies, 8, 0, pages), "memory moved over other memory");
    say(is(plain, 5, 0, pages) && is(forked, 4, 0, pages), "memory left alone");
    void *wrong = NULL;
    pthread_join(thread, &wrong);
    say(!wrong, "memory that a thread reads");
    // Grandchildren, each of a process whose memory is not complete.
    pid_t child = fork();
    if (child == 0)
        _exit(child_sees(forked, 4) && is(plain, 5, 0, pages) ? 0 : 1);
    int status = 1;
    waitpid(child, &status, 0);
    say(status == 0, "a grandchild");
    dprintf(report, "%d done\n", getpid());
    for (;;)
        pause();
}
