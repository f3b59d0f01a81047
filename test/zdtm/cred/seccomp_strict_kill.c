/* Strict seccomp still kills after restore. */
#include "zdtm.h"

#include <linux/seccomp.h>

static volatile int *go;

static int body(void *unused) {
    (void)unused;
    char byte;
    int ends[2];
    must(pipe(ends));
    child_ready();
    if (syscall(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_STRICT, 0, 0, 0) == -1)
        return 1;
    *go = 1;
    while (*go != 2)
        continue;
    syscall(SYS_write, ends[1], "x", 1);
    syscall(SYS_read, ends[0], &byte, 1);
    syscall(SYS_getpid);
    syscall(SYS_exit, 3);
    return 0;
}

int main(int argc, char **argv) {
    test_init(argc, argv);
    go = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t child = spawn(body, NULL);
    while (*go != 1)
        sleep_ms(1);
    test_daemon();
    test_waitsig();
    *go = 2;
    expect_wait_status(child, SIGKILL);
    return pass();
}
