// What --cgroup-props says: properties of control groups, by controller.
#pragma once

#include "criu/parse/result.hh"

#include <string>
#include <string_view>
#include <vector>

namespace parse {

struct CgroupProperties {
    std::string controller; ///< "" for version 2
    std::vector<std::string> names;
    bool replaces = false; ///< the list that there is otherwise
    bool operator==(const CgroupProperties &) const = default;
};

/// Lines as CRIU takes them, in any order below a controller:
///     "cpu":
///     - "strategy": "replace"
///     - "properties": ["cpu.shares", "cpu.cfs_period_us"]
Result<std::vector<CgroupProperties>> parse_cgroup_properties(std::string_view text);

} // namespace parse
