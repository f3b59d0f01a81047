// /proc/PID/cgroup.
#pragma once

#include "criu/parse/result.hh"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace parse {

struct CgroupMembership {
    uint32_t hierarchy = 0;
    std::vector<std::string> controllers; ///< empty in the unified hierarchy; "name=systemd" for named ones
    std::string path;                     ///< as printed, " (deleted)" kept
    bool operator==(const CgroupMembership &) const = default;
};

Result<std::vector<CgroupMembership>> parse_cgroup(std::string_view text);

} // namespace parse
