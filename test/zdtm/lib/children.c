/*
 * Children whose parent knows when they are set up. The pipe that carries this word is closed on both sides before
 * spawn() returns, so nothing of it is left at checkpoint time.
 */
#include "zdtm.h"

#include <linux/futex.h>
#include <poll.h>

static int ready_fd = -1;

static pid_t raw_fork(unsigned long flags) {
    /* The C library's own fork keeps its idea of the thread id right; use it where it can do what is asked. */
    if (flags == SIGCHLD)
        return fork();
    return syscall(SYS_clone, flags, NULL, NULL, NULL, 0L);
}

pid_t spawn_flags(unsigned long flags, int (*body)(void *), void *argument) {
    int channel[2];
    must(pipe2(channel, O_CLOEXEC));
    fflush(NULL);
    pid_t pid = must(raw_fork(flags));
    if (pid == 0) {
        /* With CLONE_FILES both ends belong to the parent too, and it will close them. */
        bool shared = flags & CLONE_FILES;
        if (!shared)
            close(channel[0]);
        if (ready_fd >= 0 && !shared)
            close(ready_fd);
        ready_fd = channel[1];
        _exit(body(argument));
    }
    if (!(flags & CLONE_FILES))
        close(channel[1]);
    char byte;
    if (read(channel[0], &byte, 1) != 1) {
        pr_err("child %d ended before it was ready\n", pid);
        _exit(1);
    }
    /* Until the child has closed its end too. */
    poll(&(struct pollfd){channel[0], 0, 0}, 1, 1000);
    close(channel[0]);
    return pid;
}

void run_in_vfork(long milliseconds) {
    char *const command[] = {"/bin/true", NULL};
    pid_t child = vfork();
    if (child == 0) {
        sleep_ms(milliseconds);
        execv(command[0], command);
        _exit(99);
    }
    must(child);
    int status;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue; /* by the signal that ends the test */
    check(status == 0, "wait status %#x", status);
}

pid_t spawn(int (*body)(void *), void *argument) {
    return spawn_flags(SIGCHLD, body, argument);
}

void child_ready(void) {
    if (ready_fd < 0)
        return;
    if (write(ready_fd, "", 1) != 1)
        _exit(1);
    close(ready_fd);
    ready_fd = -1;
}

void child_wait(void) {
    child_ready();
    test_waitsig();
}

void expect_wait_status(pid_t pid, int status) {
    int found = 0;
    check(waitpid(pid, &found, __WALL) == pid, "waiting for %d", pid);
    check(found == status, "task %d: wait status %#x instead of %#x", pid, found, status);
}

void finish_child(pid_t pid) {
    check(kill(pid, SIGTERM) == 0, "SIGTERM to %d", pid);
    expect_wait_status(pid, 0);
}

void task_waiter_init(task_waiter_t *waiter) {
    waiter->word = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    check(waiter->word != MAP_FAILED, "mmap of a waiter");
}

void task_waiter_complete(task_waiter_t *waiter, uint32_t value) {
    __atomic_store_n(waiter->word, value, __ATOMIC_SEQ_CST);
    syscall(SYS_futex, waiter->word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

void task_waiter_wait4(task_waiter_t *waiter, uint32_t value) {
    for (;;) {
        uint32_t seen = __atomic_load_n(waiter->word, __ATOMIC_SEQ_CST);
        if (seen >= value)
            return;
        syscall(SYS_futex, waiter->word, FUTEX_WAIT, seen, NULL, NULL, 0);
    }
}

void task_waiter_fini(task_waiter_t *waiter) {
    munmap(waiter->word, PAGE);
    waiter->word = NULL;
}

void wait_until_asleep(pid_t tid) {
    char path[64], text[512];
    snprintf(path, sizeof(path), "/proc/%d/stat", tid);
    for (int asleep = 0; asleep < 3;) {
        int fd = must(open(path, O_RDONLY | O_CLOEXEC));
        ssize_t length = read(fd, text, sizeof(text) - 1);
        close(fd);
        text[length > 0 ? length : 0] = 0;
        const char *state = strrchr(text, ')');
        asleep = state && state[2] == 'S' ? asleep + 1 : 0;
        sleep_ms(2);
    }
}
