// /proc/PID/status and /proc/PID/task/TID/status.
#pragma once

#include "criu/parse/result.hh"

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace parse {

struct Status {
    std::string name; ///< unescaped (the kernel escapes newline and backslash)
    char state = '?';
    std::optional<uint32_t> umask; ///< absent for zombies
    int32_t tgid = 0, ngid = 0, pid = 0, ppid = 0, tracer_pid = 0;
    std::array<uint32_t, 4> uid{}, gid{}; ///< real, effective, saved, filesystem
    uint32_t fd_size = 0;
    std::vector<uint32_t> groups;
    /// From the reader's pid namespace inwards; the last one is the id in the task's own namespace.
    std::vector<int32_t> ns_tgid, ns_pid, ns_pgid, ns_sid;
    bool kthread = false;
    uint64_t vm_size_kb = 0, vm_locked_kb = 0, vm_pinned_kb = 0, vm_rss_kb = 0, vm_swap_kb = 0, hugetlb_kb = 0;
    bool has_mm = false; ///< false for zombies and kernel threads
    std::optional<uint32_t> core_dumping, thp_enabled;
    std::optional<uint64_t> untag_mask;
    int32_t threads = 0;
    uint64_t sigq_used = 0, sigq_limit = 0;
    uint64_t sig_pending = 0, shd_pending = 0, sig_blocked = 0, sig_ignored = 0, sig_caught = 0;
    uint64_t cap_inh = 0, cap_prm = 0, cap_eff = 0, cap_bnd = 0, cap_amb = 0;
    bool no_new_privs = false;
    uint32_t seccomp = 0;         ///< SECCOMP_MODE_*
    uint32_t seccomp_filters = 0; ///< 0 on kernels before 5.9, too
    std::string x86_thread_features, x86_thread_features_locked;
    std::string cpus_allowed, mems_allowed; ///< masks as printed

    bool operator==(const Status &) const = default;
};

Result<Status> parse_status(std::string_view text);

} // namespace parse
