// A program whose memory says where it belongs. It checks all of it whenever it gets SIGUSR1, changes a part of it and
// reports "good" or "bad PLACE" in a line of its log. usage: target LOG [MEGABYTES [CHILDREN]]
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, SHARED_PAGES = 256 };

static uint64_t *private_memory, *shared_memory;
static size_t pages;
static uint64_t round_of_page(size_t page, uint64_t rounds) {
    return page % 7 == 0 ? rounds : 0;
}

static void fill(uint64_t *memory, size_t count, uint64_t seed, uint64_t rounds) {
    for (size_t page = 0; page < count; page++) {
        if (page % 16 == 3)
            continue; // never touched
        for (size_t word = 0; word < PAGE / 8; word += 64)
            memory[page * (PAGE / 8) + word] = seed ^ (page << 20) ^ word ^ (round_of_page(page, rounds) << 50);
    }
}

static long check(const uint64_t *memory, size_t count, uint64_t seed, uint64_t rounds) {
    for (size_t page = 0; page < count; page++)
        for (size_t word = 0; word < PAGE / 8; word += 64) {
            const uint64_t wanted =
                page % 16 == 3 ? 0 : seed ^ (page << 20) ^ word ^ (round_of_page(page, rounds) << 50);
            if (memory[page * (PAGE / 8) + word] != wanted)
                return (long)page;
        }
    return -1;
}

int main(int argc, char **argv) {
    int log = open(argv[1], O_WRONLY | O_CREAT | O_APPEND, 0644);
    pages = (size_t)(argc > 2 ? atoi(argv[2]) : 8) << 8;
    int children = argc > 3 ? atoi(argv[3]) : 0;
    signal(SIGUSR1, SIG_IGN);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGUSR1, SIG_DFL);
    private_memory = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    shared_memory = mmap(NULL, SHARED_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    madvise(private_memory, pages * PAGE, MADV_NOHUGEPAGE);
    for (int child = 0; child < children; child++)
        if (fork() == 0) {
            children = -child - 1;
            break;
        }
    const uint64_t seed = (uint64_t)getpid() << 32;
    fill(private_memory, pages, seed, 0);
    if (children >= 0)
        fill(shared_memory, SHARED_PAGES, 77, 0);
    uint64_t rounds = 0;
    dprintf(log, "%d ready\n", getpid());
    for (;;) {
        int number = 0;
        sigwait(&set, &number);
        long wrong = check(private_memory, pages, seed, rounds);
        long wrong_shared = check(shared_memory, SHARED_PAGES, 77, 0);
        rounds++;
        fill(private_memory, pages, seed, rounds);
        if (wrong < 0 && wrong_shared < 0)
            dprintf(log, "%d good\n", getpid());
        else
            dprintf(log, "%d bad %ld %ld\n", getpid(), wrong, wrong_shared);
    }
}
