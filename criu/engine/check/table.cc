#include "criu/engine/check/probes.hh"

#include "criu/kernel/features.hh"

#include <array>

namespace check {

namespace {

using kernel::Feature;

template <Feature F> Result<void> has() {
    return kernel::probe_feature(F);
}

Result<void> pidfd_store() {
    TRY_CTX(kernel::probe_feature(Feature::PidfdOpen),
            "Pidfd store requires pidfd_open syscall which is not supported");
    TRY_CTX(kernel::probe_feature(Feature::PidfdGetfd),
            "Pidfd store requires pidfd_getfd syscall which is not supported");
    return {};
}

/// Writes are noted by write protection where soft-dirty bits are missing.
Result<void> memory_tracking() {
    if (kernel::probe_feature(Feature::SoftDirty))
        return {};
    TRY(kernel::probe_feature(Feature::PagemapScan));
    return kernel::probe_feature(Feature::UffdWpAsync);
}

/// No question to the kernel: whether this program can leave a network namespace to its caller.
Result<void> external_net_ns() {
    return base::unsupported("external network namespaces come with namespaces");
}

constexpr std::array kRequired{
    Probe{"map_files", Category::Required, map_files},
    Probe{"sock_diag", Category::Required, sock_diag},
    Probe{"choice of pids", Category::Required, pid_choice},
    Probe{"SO_PEEK_OFF", Category::Required, peek_offset},
    Probe{"kcmp", Category::Required, kcmp_basic},
    Probe{"PR_SET_MM_MAP", Category::Required, mm_map},
    Probe{"F_GETOWNER_UIDS", Category::Required, owner_uids},
    Probe{"/proc/PID/stat", Category::Required, proc_stat},
    Probe{"TCP repair", Category::Required, tcp_repair},
    Probe{"fdinfo of event descriptors", Category::Required, fdinfo_extended},
    Probe{"unaligned vmsplice", Category::Required, unaligned_vmsplice},
    Probe{"terminal ioctls", Category::Required, tty_ioctls},
    Probe{"SO_GET_FILTER", Category::Required, socket_filter},
    Probe{"IPC ids", Category::Required, ipc_next_ids},
    Probe{"rt_sigqueueinfo", Category::Required, queue_siginfo},
    Probe{"PTRACE_PEEKSIGINFO", Category::Required, peek_siginfo},
    Probe{"moving the vdso", Category::Required, move_special_mapping},
};

constexpr std::array kFeatures{
    Probe{"mnt_id", Category::Extra, fdinfo_mnt_id, "fdinfo doesn't contain the mnt_id field"},
    Probe{"mem_dirty_track", Category::Extra, memory_tracking, "Dirty tracking is OFF. Memory snapshot will not work."},
    Probe{"aio_remap", Category::Extra, aio_remap},
    Probe{"timerfd", Category::Extra, timerfd_fdinfo},
    Probe{"tun", Category::Extra, tun_device},
    Probe{"tun_ns", Category::Extra, tun_namespace},
    Probe{"userns", Category::Extra, user_namespace},
    Probe{"fdinfo_lock", Category::Extra, fdinfo_lock},
    Probe{"seccomp_suspend", Category::Extra, has<Feature::SeccompSuspend>},
    Probe{"seccomp_filters", Category::Extra, has<Feature::SeccompFilters>},
    Probe{"loginuid", Category::Extra, loginuid, "Loginuid restore is OFF."},
    Probe{"cgroupns", Category::Extra, cgroup_namespace, "cgroupns not supported. This is not fatal."},
    Probe{"autofs", Category::Experimental, autofs},
    Probe{"tcp_half_closed", Category::Extra, tcp_half_closed},
    Probe{"compat_cr", Category::Experimental, has<Feature::MapVdso32>,
          "compat_cr is not supported. Requires kernel >= v4.12"},
    Probe{"uffd", Category::Extra, has<Feature::Userfaultfd>, "UFFD is not supported"},
    Probe{"uffd-noncoop", Category::Extra, has<Feature::UffdEvents>, "Non-cooperative UFFD is not supported"},
    Probe{"can_map_vdso", Category::Extra, has<Feature::MapVdso64>},
    Probe{"sk_ns", Category::Extra, socket_namespace},
    Probe{"sk_unix_file", Category::Extra, unix_socket_file},
    Probe{"net_diag_raw", Category::Extra, net_diag_raw},
    Probe{"nsid", Category::Extra, netns_ids, "NSID isn't supported"},
    Probe{"link_nsid", Category::Extra, link_in_other_netns, "NSID isn't supported"},
    Probe{"kcmp_epoll", Category::Extra, has<Feature::KcmpEpoll>},
    Probe{"timens", Category::Extra, has<Feature::TimeNamespace>, "Time namespaces are not supported"},
    Probe{"external_net_ns", Category::ByName, external_net_ns},
    Probe{"clone3_set_tid", Category::Extra, has<Feature::Clone3SetTid>, "clone3() with set_tid not supported"},
    Probe{"newifindex", Category::Extra, new_ifindex, "IFLA_NEW_IFINDEX isn't supported"},
    Probe{"nftables", Category::Extra, nftables},
    Probe{"has_ipt_legacy", Category::ByName, iptables_legacy},
    Probe{"pidfd_store", Category::Extra, pidfd_store},
    Probe{"ns_pid", Category::Extra, ns_pid_in_status},
    Probe{"apparmor_stacking", Category::Extra, apparmor_stacking},
    Probe{"network_lock_nftables", Category::Extra, network_lock_nftables,
          "Nftables based locking requires libnftables and set concatenations support"},
    Probe{"sockopt_buf_lock", Category::Extra, has<Feature::SockoptBufLock>},
    Probe{"memfd_hugetlb", Category::Extra, has<Feature::MemfdHugetlb>},
    Probe{"move_mount_set_group", Category::Extra, has<Feature::MoveMountSetGroup>},
    Probe{"openat2", Category::Extra, has<Feature::Openat2>},
    Probe{"get_rseq_conf", Category::Extra, has<Feature::RseqConfiguration>},
    Probe{"ipv6_freebind", Category::Extra, ipv6_freebind},
    Probe{"pagemap_scan", Category::Extra, has<Feature::PagemapScan>},
    Probe{"timer_cr_ids", Category::Extra, has<Feature::TimerRestoreIds>},
    Probe{"overlayfs_maps", Category::Extra, overlayfs_maps},
    Probe{"breakpoints", Category::Extra, breakpoints},
    Probe{"pagemap_scan_guard_pages", Category::Extra, has<Feature::PagemapScanGuard>},
};
static_assert(kFeatures.size() == 45);

} // namespace

std::span<const Probe> required_probes() {
    return kRequired;
}
std::span<const Probe> feature_probes() {
    return kFeatures;
}

} // namespace check
