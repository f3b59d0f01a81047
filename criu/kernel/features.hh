// What this kernel offers beyond the oldest one that is supported, found out by trying.
#pragma once

#include "base/result.hh"

#include <array>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string_view>

namespace kernel {

using base::Result;

enum class Feature : uint8_t {
    PagemapScan,         ///< ioctl PAGEMAP_SCAN
    PagemapScanGuard,    ///< its category for guard pages
    ProcmapQuery,        ///< ioctl PROCMAP_QUERY
    Clone3SetTid,        ///< pids chosen at creation
    PidfdOpen,           ///< pidfd_open(2)
    PidfdGetfd,          ///< pidfd_getfd(2)
    PidfdThread,         ///< pidfds of threads that are no leaders
    DupfdQuery,          ///< F_DUPFD_QUERY
    KcmpEpoll,           ///< kcmp(KCMP_EPOLL_TFD)
    RseqConfiguration,   ///< PTRACE_GET_RSEQ_CONFIGURATION
    SyscallUserDispatch, ///< PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG
    SeccompFilters,      ///< PTRACE_SECCOMP_GET_FILTER, allowed to us
    SeccompSuspend,      ///< PTRACE_O_SUSPEND_SECCOMP, allowed to us
    Userfaultfd,         ///< userfaultfd(2), allowed to us
    UffdMove,            ///< UFFDIO_MOVE
    UffdWpAsync,         ///< write tracking without a handler
    UffdEvents,          ///< fork, remap, remove and unmap events
    MembarrierGet,       ///< MEMBARRIER_CMD_GET_REGISTRATIONS
    TimerRestoreIds,     ///< PR_TIMER_CREATE_RESTORE_IDS
    MapVdso64,           ///< arch_prctl(ARCH_MAP_VDSO_64)
    MapVdso32,           ///< arch_prctl(ARCH_MAP_VDSO_32)
    TimeNamespace,       ///< /proc/PID/timens_offsets
    SoftDirty,           ///< soft-dirty bits that really change
    GuardPages,          ///< MADV_GUARD_INSTALL
    MemfdHugetlb,        ///< memfd_create(MFD_HUGETLB)
    SockoptBufLock,      ///< SO_BUF_LOCK
    Openat2,             ///< openat2(2)
    MoveMountSetGroup,   ///< MOVE_MOUNT_SET_GROUP
};
inline constexpr size_t kFeatureCount = static_cast<size_t>(Feature::MoveMountSetGroup) + 1;

std::string_view feature_name(Feature);

/// Tries the feature on this process or a short-lived child. Leaves nothing behind.
/// Success means present; the error says what failed: a kernel too old, or a privilege missing.
Result<void> probe_feature(Feature);

/// Answers about this kernel. Each feature is tried when it is first asked for, and never again. Not shared between
/// threads.
class Kernel {
public:
    Kernel() = default;
    /// With some answers given: for tests of the older ways.
    Kernel(std::initializer_list<std::pair<Feature, bool>> known) {
        for (auto [feature, value] : known)
            known_[static_cast<size_t>(feature)] = value;
    }

    bool has(Feature feature) const {
        auto &answer = known_[static_cast<size_t>(feature)];
        if (!answer)
            answer = probe_feature(feature).has_value();
        return *answer;
    }

private:
    mutable std::array<std::optional<bool>, kFeatureCount> known_{};
};

} // namespace kernel
