/* System calls without a time limit: they go on waiting, and return what happens after the restore. */
#include "blocked_calls.h"

#include <linux/futex.h>
#include <poll.h>
#include <sys/select.h>

static uint32_t word, private_word;
static int pipes[6][2];
static pid_t children[2];

static int child_body(void *status) {
    child_wait();
    return (int)(long)status;
}

static long call_read(void) {
    char text[8];
    return raw(SYS_read, pipes[0][0], text, sizeof(text));
}
static void wake_read(void) {
    must(write(pipes[0][1], "abc", 3));
}

static long call_readv(void) {
    char text[8];
    struct {
        void *p;
        size_t n;
    } part = {text, sizeof(text)};
    return raw(SYS_readv, pipes[1][0], &part, 1);
}
static void wake_readv(void) {
    must(write(pipes[1][1], "hello", 5));
}

/* The pipe is full: the write blocks until it is drained. */
static long call_write(void) {
    static char text[3000];
    return raw(SYS_write, pipes[2][1], text, sizeof(text));
}
static void wake_write(void) {
    static char text[65536];
    must(read(pipes[2][0], text, sizeof(text)));
}

static long call_poll(void) {
    struct pollfd fd = {pipes[3][0], POLLIN, 0};
    long result = raw(SYS_poll, &fd, 1, -1);
    return result == 1 && fd.revents == POLLIN ? 1 : -1000 + result;
}
static void wake_poll(void) {
    must(write(pipes[3][1], "x", 1));
}

static long call_select(void) {
    fd_set set;
    FD_ZERO(&set);
    FD_SET(pipes[4][0], &set);
    return raw(SYS_select, pipes[4][0] + 1, &set, NULL, NULL, NULL);
}
static void wake_select(void) {
    must(write(pipes[4][1], "x", 1));
}

static long call_futex(void) {
    return raw(SYS_futex, &word, FUTEX_WAIT, 0, NULL, NULL, 0);
}
static void wake_futex(void) {
    word = 1;
    syscall(SYS_futex, &word, FUTEX_WAKE, 1, NULL, NULL, 0);
}
static long call_futex_private(void) {
    return raw(SYS_futex, &private_word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, 0, NULL, NULL, 0xf0);
}
static void wake_futex_private(void) {
    private_word = 1;
    syscall(SYS_futex, &private_word, FUTEX_WAKE_BITSET | FUTEX_PRIVATE_FLAG, 1, NULL, NULL, 0x10);
}

static long call_wait4(void) {
    int status = 0;
    long pid = raw(SYS_wait4, children[0], &status, 0, NULL);
    return pid == children[0] ? status : -1;
}
static void wake_wait4(void) {
    must(kill(children[0], SIGTERM));
}

static long call_waitid(void) {
    siginfo_t info = {0};
    long result = raw(SYS_waitid, P_PID, children[1], &info, WEXITED, NULL);
    return result ? result : info.si_pid == children[1] ? info.si_status : -1;
}
static void wake_waitid(void) {
    must(kill(children[1], SIGTERM));
}

static struct blocked_call calls[] = {
    {"read", call_read, 3, wake_read},
    {"readv", call_readv, 5, wake_readv},
    {"write", call_write, 3000, wake_write},
    {"poll", call_poll, 1, wake_poll},
    {"select", call_select, 1, wake_select},
    {"futex", call_futex, 0, wake_futex},
    {"futex, private with bits", call_futex_private, 0, wake_futex_private},
    {"wait4", call_wait4, 33 << 8, wake_wait4},
    {"waitid", call_waitid, 44, wake_waitid},
};

int main(int argc, char **argv) {
    test_init(argc, argv);
    for (size_t i = 0; i < ARRAY_SIZE(pipes); i++)
        must(pipe(pipes[i]));
    static char full[65536];
    must(write(pipes[2][1], full, sizeof(full)));
    children[0] = spawn(child_body, (void *)33);
    children[1] = spawn(child_body, (void *)44);
    start_blocked_calls(calls, ARRAY_SIZE(calls));
    test_daemon();
    test_waitsig();
    finish_blocked_calls(calls, ARRAY_SIZE(calls));
    return pass();
}
