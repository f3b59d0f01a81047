/*
 * What every program of the suite is written against.
 *
 * A program sets up one kind of kernel state, calls test_daemon() to say that it may be checkpointed now, waits in
 * test_waitsig() (or works while test_go() holds), and after SIGTERM verifies that nothing was lost. The names follow
 * the conventions of the CRIU suite: programs that keep to them can be run by either runner.
 */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* --- life of a program ------------------------------------------------------------------------------------------ */

/* Parses options, goes to the background, opens the out file. Returns in the daemon only. */
void test_init(int argc, char **argv);
/* The same for init-like programs that set up themselves before they go to the background: no setsid(). */
void test_init_no_session(int argc, char **argv);
/* State is set up: the starter writes the pid file and exits with 0. */
void test_daemon(void);
/* True until SIGTERM has come. */
bool test_go(void);
/* Sleeps until SIGTERM has come. */
void test_waitsig(void);

/* Values of --filename and --dirname; relative to the scratch folder that the program runs in. */
extern const char *test_filename;
extern const char *test_dirname;

enum option_kind { OPTION_STRING, OPTION_LONG, OPTION_BOOL };
struct test_option {
    const char *name;
    enum option_kind kind;
    void *value;
    const char *help;
    bool required;
    struct test_option *next;
};
void register_option(struct test_option *option);

/* TEST_OPTION(rounds, LONG, "how often", false) for a variable `rounds` that is defined before. */
#define TEST_OPTION(variable, type, description, is_required)                                                          \
    static struct test_option option_##variable = {                                                                    \
        #variable, OPTION_##type, &variable, description, is_required, NULL};                                          \
    __attribute__((constructor)) static void register_##variable(void) {                                               \
        register_option(&option_##variable);                                                                           \
    }

/* --- words for the out file ------------------------------------------------------------------------------------- */

void test_msg(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* FAIL lines: the runner counts a program as passed only if there is none and the last line is PASS. */
int fail_at(const char *file, int line, int error, const char *format, ...) __attribute__((format(printf, 4, 5)));
int pass(void);

#define fail(...) fail_at(__FILE__, __LINE__, errno, "" __VA_ARGS__)
#define pr_err(...) test_msg("ERR: " __VA_ARGS__)
#define pr_perror(format, ...) test_msg("ERR: " format ": %s\n" __VA_OPT__(, ) __VA_ARGS__, strerror(errno))

/* A condition that a restored program must find; its failure ends the calling process with status 1. */
#define check(condition, ...)                                                                                          \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fail_at(__FILE__, __LINE__, errno, __VA_ARGS__);                                                           \
            _exit(1);                                                                                                  \
        }                                                                                                              \
    } while (0)

/* A call of the set-up phase; its failure ends the calling process with status 1. Yields the call's value. */
#define must(call) must_value(__FILE__, __LINE__, #call, (long)(call))
long must_value(const char *file, int line, const char *text, long value);

/* --- children --------------------------------------------------------------------------------------------------- */

/* Forks a child that runs `body` and exits with its value; returns once the child called child_ready(). */
pid_t spawn(int (*body)(void *), void *argument);
/* The same with clone flags (CLONE_FILES, CLONE_FS, CLONE_PARENT, ...; no CLONE_VM) and exit signal. */
pid_t spawn_flags(unsigned long flags, int (*body)(void *), void *argument);
/* A child in vfork() that sleeps in its parent's memory before it becomes another program; checks that that ends well. */
void run_in_vfork(long milliseconds);
/* Tells the parent that called spawn() that the child's state is set up. */
void child_ready(void);
/* child_ready(), then sleeps until SIGTERM. */
void child_wait(void);
/* SIGTERM to the child, and checks that it exits with 0. */
void finish_child(pid_t pid);
/* Checks that the child exits with `status` (as in wait status words). */
void expect_wait_status(pid_t pid, int status);

/* Rounds of a handshake between related tasks; lives in shared memory. */
typedef struct {
    uint32_t *word;
} task_waiter_t;
void task_waiter_init(task_waiter_t *waiter);
void task_waiter_complete(task_waiter_t *waiter, uint32_t value);
void task_waiter_wait4(task_waiter_t *waiter, uint32_t value);
void task_waiter_fini(task_waiter_t *waiter);

/* Waits until a thread (of any process) is asleep in the kernel, so that it may be checkpointed inside its call. */
void wait_until_asleep(pid_t tid);

/* --- data ------------------------------------------------------------------------------------------------------- */

uint32_t crc32_of(uint32_t crc, const void *data, size_t length);
/* Fills a buffer with fresh pseudo-random bytes and adds them to *crc. */
void datagen(void *buffer, size_t length, uint32_t *crc);
/* True if the buffer gives the same *crc. Both variants continue from ~0 as start value. */
bool datachk(const void *buffer, size_t length, uint32_t *crc);
bool all_bytes_are(const void *buffer, int byte, size_t length);

/* --- facts about oneself ---------------------------------------------------------------------------------------- */

int64_t now_ns(clockid_t clock);
void sleep_ms(long milliseconds);
pid_t gettid_(void);
/* First line of /proc/... that starts with `key`, without it and white space, or NULL. Caller frees. */
char *proc_value(const char *path, const char *key);
/* Counters of the mapping that holds `address`, in kB, e.g. smaps_kb(p, "Rss:"); -1 without mapping. */
long smaps_kb(const void *address, const char *key);
/* True if the two-letter VmFlags word is set on the mapping that holds `address`. */
bool has_vm_flag(const void *address, const char *flag);
/* Protection text ("rw-p") of the mapping that holds `address`, or "". */
const char *mapping_perms(const void *address);
/* One 64-bit pagemap entry. */
uint64_t pagemap_entry(const void *address);
/* Link text of /proc/self/fd/N in a static buffer. */
const char *fd_path(int fd);
/* Number behind a key of /proc/self/fdinfo/N; -1 without. */
long long fdinfo_value(int fd, const char *key, int base);
/* True if both descriptors refer to one open file description. */
bool same_description(pid_t pid1, int fd1, pid_t pid2, int fd2);
int open_fd_count(void);
void write_file(const char *path, const void *data, size_t length);

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define MIB (1024UL * 1024UL)
#define PAGE 4096UL

/* Private anonymous memory, readable and writable, or the end of the program. */
static inline void *map_private(size_t length) {
    return (void *)must(mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

/* Shared anonymous memory. */
static inline void *map_shared(size_t length) {
    return (void *)must(mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
}
