// What users may ask for that concerns files.
#pragma once

#include "criu/resource/losses.hh"

#include <cstdint>
#include <string>
#include <vector>

namespace resource {

/// A descriptor of the caller's that stands where the tree had the object.
struct InheritFd {
    int fd = -1;
    std::string key; ///< "pipe:[123]", "tty[8801:5]", a relative path, ...
};

/// An object outside of the tree: KIND[KEY]:VALUE
struct External {
    std::string kind, key, value;
};

struct FileOptions {
    bool link_remap = false;
    bool shell_job = false;
    bool orphan_terminals = false; ///< slaves without masters come back with new ones, which the caller gets
    bool file_locks = false;
    bool evasive_devices = false;
    bool ghost_fiemap = true;
    uint64_t ghost_limit = 1u << 20;
    bool check_build_id = true; ///< --file-validation buildid
    bool skip_mode_check = false;
    bool tree_survives = false; ///< the dump leaves it running or stopped
    bool ext_unix_sk = false;
    std::vector<uint64_t> ext_unix_inodes; ///< empty with ext_unix_sk: any
    std::vector<External> externals;
    std::vector<InheritFd> inherit_fds;
    AllowedLosses allowed_losses;
    bool tcp_established = false;
    bool tcp_close = false;
    bool skip_in_flight = false;
    bool force_irmap = false;              ///< look for paths of watched inodes even where handles open them
    std::vector<std::string> watch_places; ///< where else to look
    bool lock_network = true;              ///< --network-lock is not skip
    uint32_t service_socket = 0;           ///< inode of our socket to the client who has asked for the dump, 0: none
    std::string network_table;             ///< of nf_tables, that locks the network
};

} // namespace resource
