// Raw system calls for freestanding code.
#pragma once

#include <cstdint>

inline int64_t raw_syscall(uint64_t nr, uint64_t a = 0, uint64_t b = 0, uint64_t c = 0, uint64_t d = 0, uint64_t e = 0,
                           uint64_t f = 0) {
    int64_t ret;
    register uint64_t r10 asm("r10") = d;
    register uint64_t r8 asm("r8") = e;
    register uint64_t r9 asm("r9") = f;
    asm volatile("syscall"
                 : "=a"(ret)
                 : "0"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                 : "rcx", "r11", "memory");
    return ret;
}

/// As a 32-bit program makes it: with that table's number, and arguments and structures of 32 bits.
inline int64_t raw_syscall32(uint64_t nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e) {
    int32_t ret;
    asm volatile("int $0x80"
                 : "=a"(ret)
                 : "0"(static_cast<uint32_t>(nr)), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e)
                 : "r8", "r9", "r10", "r11", "memory"); // which kernels before 4.17 clear
    return ret;
}
