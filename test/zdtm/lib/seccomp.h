/*
 * Classic BPF filters that answer one system call with an errno.
 */
#pragma once

#include "zdtm.h"

#include <linux/filter.h>
#include <linux/seccomp.h>

/* Installs a filter that makes `number` fail with `error`; 0 or -1. */
static inline int deny(int number, int error, unsigned flags) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {ARRAY_SIZE(code), code};
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

/* What a system call without side effects answers: 0 if it is allowed, else its errno. */
static inline int answer_of(int number) {
    return syscall(number, 0, 0, 0, 0, 0, 0) == -1 ? errno : 0;
}
