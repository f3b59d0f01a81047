// The features that `check` knows by name, each with the probe that answers for it.
#pragma once

#include "base/result.hh"

#include <cstdint>
#include <span>
#include <string_view>

namespace check {

using base::Result;

/// `what`: the call that has failed, for the error.
inline Result<void> expect(bool ok, const char *what) {
    if (!ok)
        return base::fail_sys(what);
    return {};
}

enum class Category : uint8_t {
    Required,     ///< without it nothing works
    Extra,        ///< some trees need it
    Experimental, ///< parts that few use need it
    ByName,       ///< only answered when asked for
};

struct Probe {
    std::string_view name;
    Category category;
    /// Success means present; the error says what failed. Leaves nothing behind.
    Result<void> (*run)();
    std::string_view missing{}; ///< CRIU's words where it is not there; empty: it has none
};

std::span<const Probe> required_probes(); ///< not addressable by name
std::span<const Probe> feature_probes();  ///< the 45 names of --feature

// Probes by area, for the two tables.
Result<void> map_files();
Result<void> proc_stat();
Result<void> fdinfo_extended();
Result<void> fdinfo_mnt_id();
Result<void> fdinfo_lock();
Result<void> timerfd_fdinfo();
Result<void> ns_pid_in_status();
Result<void> ipc_next_ids();
Result<void> pid_choice();
Result<void> loginuid();
Result<void> user_namespace();
Result<void> cgroup_namespace();
Result<void> autofs();
Result<void> apparmor_stacking();
Result<void> overlayfs_maps();

Result<void> kcmp_basic();
Result<void> mm_map();
Result<void> owner_uids();
Result<void> unaligned_vmsplice();
Result<void> tty_ioctls();
Result<void> queue_siginfo();
Result<void> peek_siginfo();
Result<void> move_special_mapping();
Result<void> aio_remap();
Result<void> breakpoints();

Result<void> sock_diag();
Result<void> net_diag_raw();
Result<void> peek_offset();
Result<void> socket_filter();
Result<void> tcp_repair();
Result<void> tcp_half_closed();
Result<void> socket_namespace();
Result<void> unix_socket_file();
Result<void> tun_device();
Result<void> tun_namespace();
Result<void> ipv6_freebind();
Result<void> netns_ids();
Result<void> link_in_other_netns();
Result<void> new_ifindex();
Result<void> nftables();
Result<void> network_lock_nftables();
Result<void> iptables_legacy();

} // namespace check
