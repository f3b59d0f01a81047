/* Strict seccomp: read, write and exit work, anything else is deadly, as before. */
#include "zdtm.h"

#include <linux/seccomp.h>

static int to_child[2], from_child[2];

static int body(void *deadly) {
    char byte;
    child_ready();
    if (syscall(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_STRICT, 0, 0, 0) == -1)
        syscall(SYS_exit, 1);
    while (syscall(SYS_read, to_child[0], &byte, 1) == 1) {
        if (deadly && byte == 'x')
            syscall(SYS_getpid);
        byte++;
        syscall(SYS_write, from_child[1], &byte, 1);
        if (byte == 'y')
            break;
    }
    syscall(SYS_exit, 0);
    return 0;
}

static void ping(char byte) {
    char answer = 0;
    check(write(to_child[1], &byte, 1) == 1, "write");
    check(read(from_child[0], &answer, 1) == 1 && answer == byte + 1, "no answer from the child");
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    must(pipe(to_child));
    must(pipe(from_child));
    pid_t first = spawn(body, NULL);
    ping('a');
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/status", first);
    test_daemon();
    test_waitsig();
    char *mode = proc_value(path, "Seccomp:");
    check(mode && !strcmp(mode, "1"), "seccomp mode is %s", mode);
    ping('b');
    ping('x');
    expect_wait_status(first, 0);
    return pass();
}
