// /proc/PID/mountinfo.
#pragma once

#include "criu/parse/result.hh"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace parse {

struct Mount {
    int32_t id = 0, parent_id = 0;
    uint32_t dev_major = 0, dev_minor = 0;
    std::string root, mount_point;                      ///< unescaped
    std::string options;                                ///< per mount, "rw,relatime"
    int32_t shared = 0, master = 0, propagate_from = 0; ///< peer group ids, 0 = none
    bool unbindable = false;
    std::string fs_type;               ///< with the subtype: "fuse.sshfs"
    std::string source, super_options; ///< unescaped
    bool operator==(const Mount &) const = default;
};

Result<std::vector<Mount>> parse_mountinfo(std::string_view text);

} // namespace parse
