// What users may ask for that concerns files.
#pragma once

#include "criu/cli/options.hh"
#include "criu/kernel/plugins.hh"

#include <cstdint>
#include <string>

namespace resource {

struct FileOptions {
    bool link_remap = false;
    bool shell_job = false;
    bool file_locks = false;
    bool evasive_devices = false;
    bool ghost_fiemap = true;
    uint64_t ghost_limit = 1u << 20;
    bool check_build_id = true; ///< --file-validation buildid
    bool skip_mode_check = false;
    bool tree_survives = false; ///< the dump leaves it running or stopped
    bool ext_unix_sk = false;
    std::vector<uint64_t> ext_unix_inodes; ///< empty with ext_unix_sk: any
    std::vector<cli::External> externals;
    std::vector<cli::InheritFd> inherit_fds;
    bool tcp_established = false;
    bool tcp_close = false;
    bool skip_in_flight = false;
    bool force_irmap = false;              ///< look for paths of watched inodes even where handles open them
    std::vector<std::string> watch_places; ///< where else to look
    bool lock_network = true;              ///< --network-lock is not skip
    std::string network_table;             ///< of nf_tables, that locks the network
};

inline FileOptions file_options(const cli::Options &options) {
    return {.link_remap = options.link_remap,
            .shell_job = options.shell_job,
            .file_locks = options.file_locks,
            .evasive_devices = options.evasive_devices,
            .ghost_fiemap = options.ghost_fiemap,
            .ghost_limit = options.ghost_limit,
            .check_build_id = options.file_validation == cli::FileValidation::BuildId,
            .skip_mode_check = options.skip_file_rwx_check,
            .tree_survives = options.leave_running || options.leave_stopped,
            .ext_unix_sk = options.ext_unix_sk,
            .ext_unix_inodes = options.ext_unix_inodes,
            .externals = options.external,
            .inherit_fds = options.inherit_fds,
            .tcp_established = options.tcp_established,
            .tcp_close = options.tcp_close,
            .skip_in_flight = options.skip_in_flight,
            .force_irmap = options.force_irmap,
            .watch_places = options.irmap_scan_paths,
            .lock_network = options.network_lock != cli::NetworkLock::Skip,
            .network_table = {}};
}

inline kernel::Plugins::Settings plugin_settings(const cli::Options &options, kernel::Plugins::Stage stage) {
    return {.directory = options.plugin_dir.empty() ? "/usr/lib/criu" : options.plugin_dir,
            .required = !options.plugin_dir.empty(),
            .stage = stage,
            .images_dir_fd = options.images_dir_fd,
            .needed = {}};
}

} // namespace resource
