// Numbers of system calls, prctls and ptrace requests newer than the headers of Linux 6.1 or missing from glibc 2.36.
#pragma once

#include <cstdint>

namespace kernel_abi {

// prctl
inline constexpr int kPrTimerCreateRestoreIds = 77; ///< 6.15: 0 off, 1 on, 2 get
// arch_prctl, x86
inline constexpr int kArchMapVdso32 = 0x2002, kArchMapVdso64 = 0x2003;
// ptrace
inline constexpr int kPtraceGetRseqConfiguration = 0x420f;   ///< 5.13
inline constexpr int kPtraceSetSyscallUserDispatch = 0x4210; ///< 6.4
inline constexpr int kPtraceGetSyscallUserDispatch = 0x4211;
inline constexpr int kPtraceSetSyscallInfo = 0x4212; ///< 6.16

struct RseqConfiguration {
    uint64_t rseq_abi_pointer;
    uint32_t rseq_abi_size;
    uint32_t signature;
    uint32_t flags;
    uint32_t pad;
};
static_assert(sizeof(RseqConfiguration) == 24);

struct SyscallUserDispatchConfig {
    uint64_t mode, selector, offset, len;
};
static_assert(sizeof(SyscallUserDispatchConfig) == 32);

// fcntl
inline constexpr int kFDupfdQuery = 1027; ///< 6.10: 1 if both descriptors share a description
// membarrier
inline constexpr int kMembarrierGetRegistrations = 1 << 9; ///< 6.3
// madvise
inline constexpr int kMadvGuardInstall = 102, kMadvGuardRemove = 103; ///< 6.13
// pidfd_open
inline constexpr unsigned kPidfdThread = 0200; ///< O_EXCL, 6.9
// setsockopt
inline constexpr int kSoBufLock = 72; ///< 5.14
// mmap
inline constexpr int kMapDroppable = 0x08; ///< 6.11
// mount
inline constexpr unsigned kMoveMountSetGroup = 0x100; ///< 5.15
// system calls, the same number on every architecture
inline constexpr long kSysMseal = 462;

} // namespace kernel_abi
