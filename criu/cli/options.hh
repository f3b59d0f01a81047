// Everything the command line and the configuration files can say, as plain values.
//
// Only fronts see it (scripts/check_layers.py): the engines take what requests.hh makes of it. Defaults are CRIU's.
#pragma once

#include "base/unique_fd.hh"
#include "criu/engine/request.hh"
#include "criu/resource/cgroup/options.hh"
#include "criu/resource/file/options.hh"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace cli {

enum class Command : uint8_t {
    None,
    Dump,
    PreDump,
    Restore,
    Check,
    Untrack,
    Dedup,
    Merge,
    Verify,
    Service,
    Swrk,
    Crit,
    PageServer,
    LazyPages,
    CpuinfoDump,
    CpuinfoCheck,
    Migrate,
    Receive
};

enum class FileValidation : uint8_t { FileSize, BuildId };
enum class NetworkLock : uint8_t { Nftables, Iptables, Skip };
enum class ImageLayout : uint8_t {
    Current, ///< what CRIU 4.x writes
    Split,   ///< the layout of 2015: one file per kind
};
/// Soft: only where there is nothing to do, because all tasks are in the tool's own control groups.

/// Bits of --cpu-cap.
enum CpuCap : uint32_t { kCpuCapCpu = 1, kCpuCapFpu = 2, kCpuCapIns = 4, kCpuCapAll = 7 };

using engine::TrackMethod;
using PreDumpMode = engine::PreDumpRequest::Mode;
using resource::External;
using resource::InheritFd;

/// --join-ns KIND:PLACE[,UID,GID]
struct JoinedNamespace {
    std::string kind, place;
    std::optional<std::pair<uint32_t, uint32_t>> ids;
};

struct Options {
    Command command = Command::None;

    // The tree and what becomes of it.
    int tree = 0; ///< -t, 0 = not given
    bool leave_stopped = false, leave_running = false;
    bool verify = true; ///< plan the restore of what a dump has written before the tree ends
    bool restore_detached = false, restore_sibling = false;
    bool shell_job = false;
    bool orphan_terminals = false; ///< only by RPC: masters of terminals are made and handed to the client
    bool exec_cmd = false;
    std::vector<std::string> exec_argv; ///< program and arguments for --exec-cmd
    std::string freeze_cgroup;
    bool allow_uprobes = false;
    unsigned timeout_seconds = 10; ///< 0 = none
    std::vector<int> skip_fds;     ///< descriptors left out of the dump, in every task
    resource::AllowedLosses allowed_losses;

    // Files and logs.
    std::string images_dir = ".";
    int images_dir_fd = -1; ///< images_dir, opened before the change to work_dir; owned by the caller of the command
    std::shared_ptr<base::UniqueFd> images_file; ///< where images_dir is a file: it may be a stream
    std::string work_dir;                        ///< empty = images_dir
    std::string log_file;                        ///< empty = standard error, "-" = standard output
    int verbosity = 2;                           ///< base::LogLevel
    bool log_pid = false;
    bool display_stats = false;
    std::optional<bool> progress; ///< --progress, --no-progress; neither: where it does not disturb
    std::string pidfile;
    std::optional<int> status_fd, close_fd;
    std::vector<std::string> action_scripts;
    ImageLayout image_layout = ImageLayout::Current;
    bool print_plan = false;
    bool sync = false;    ///< images are on the disk before a dump succeeds
    bool stream = false;  ///< exchange images with criu-image-streamer
    std::string key_file; ///< --encrypt
    bool lower_limits = false;

    // Privileges.
    bool unprivileged = false;
    bool deprecated = false;
    uint32_t cpu_cap = kCpuCapFpu | kCpuCapIns;
    bool cpu_cap_given = false;

    // Files of the tasks.
    std::vector<External> external;
    std::vector<InheritFd> inherit_fds;
    std::vector<JoinedNamespace> join_ns;
    std::string plugin_dir; ///< empty: /usr/lib/criu, and what cannot be loaded there is left out
    std::string root;
    bool empty_net = false;
    std::vector<External> links; ///< --external veth[..], netdev[..], macvlan[..]; --veth-pair
    std::vector<std::pair<std::string, std::string>> mount_map; ///< --ext-mount-map, --external mnt[..]: as given
    bool auto_mounts = false;                                   ///< --external mnt[]
    bool external_masters = false, external_sharing = false;
    std::vector<std::string> skip_mounts, enable_fs;
    std::vector<std::pair<std::string, std::string>> device_map; ///< --external dev[..]: as given
    bool link_remap = false;
    uint64_t ghost_limit = 1u << 20;
    bool ghost_fiemap = true;
    bool evasive_devices = false;
    bool file_locks = false;
    bool force_irmap = false;
    std::vector<std::string> irmap_scan_paths;
    FileValidation file_validation = FileValidation::BuildId;
    bool skip_file_rwx_check = false;

    // Sockets.
    bool ext_unix_sk = false;
    std::vector<uint64_t> ext_unix_inodes; ///< empty with ext_unix_sk: any
    bool tcp_established = false, tcp_close = false, skip_in_flight = false;
    NetworkLock network_lock = NetworkLock::Nftables;

    // Memory.
    bool track_mem = false;
    int pidfd_store = -1; ///< only by RPC
    TrackMethod track_method = TrackMethod::Auto;
    std::string into;            ///< merge: the new directory
    std::string prev_images_dir; ///< relative to images_dir; empty: none
    bool auto_dedup = false;
    engine::SnapshotMethod snapshot = engine::SnapshotMethod::Auto;
    std::optional<uint64_t> snapshot_memory;
    pages::Compression compression;
    int unpackers = 0; ///< --decompress-threads; 0: as many as are worth it
    PreDumpMode pre_dump_mode = PreDumpMode::Splice;

    resource::cgroup::Mode manage_cgroups = resource::cgroup::Mode::Soft;
    std::vector<resource::cgroup::Root> cgroup_roots;
    std::vector<std::string> cgroup_controllers; ///< those that are saved; none: all
    std::string cgroup_yard;                     ///< a directory where they are mounted; empty: mounted by ourselves
    resource::cgroup::PropertyLists cgroup_props;

    // check
    std::vector<std::string> features;
    bool check_extra = false, check_experimental = false;
    bool json = false;

    // Pages by a connection.
    bool page_server = false; ///< pages go to, or come from, a page server
    int port = 0;             ///< 0: not given
    bool to_given = false;    ///< --to, which is an address and a port
    int max_stall_ms = 300;
    bool resume_here = false; ///< migrate: let a tree go on that stands still
    std::optional<int> ps_socket;
    bool lazy_pages = false;
    bool instant = false; ///< restore: as lazy_pages, with a daemon of its own
    bool tls = false, tls_no_cn_verify = false;
    std::string tls_cacert, tls_cacrl, tls_cert, tls_key; ///< empty: where CRIU has them

    // service, swrk
    /// Of the service's socket (empty: criu_service.socket in the work folder), or of a page connection.
    std::string address;
    bool daemon = false;
    int swrk_fd = -1;

    std::vector<std::string> crit_args; ///< what follows `criu crit`
};

} // namespace cli
