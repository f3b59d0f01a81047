/* A sandbox that allows next to nothing, so that neither dump nor restore may depend on what the task can call. */
#include "seccomp.h"

int main(int argc, char **argv) {
    test_init(argc, argv);
    static const int kAllowed[] = {SYS_read,  SYS_write,           SYS_exit,  SYS_exit_group, SYS_rt_sigreturn,
                                   SYS_futex, SYS_restart_syscall, SYS_munmap};
    struct sock_filter code[ARRAY_SIZE(kAllowed) + 3] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    };
    for (size_t i = 0; i < ARRAY_SIZE(kAllowed); i++)
        code[i + 1] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kAllowed[i], ARRAY_SIZE(kAllowed) - i, 0);
    code[ARRAY_SIZE(kAllowed) + 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    code[ARRAY_SIZE(kAllowed) + 2] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {ARRAY_SIZE(code), code};
    must(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
    test_daemon();
    test_waitsig();
    return pass();
}
