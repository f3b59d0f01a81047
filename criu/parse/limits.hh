// /proc/PID/limits: the only way to read the limits of a task of another user without CAP_SYS_RESOURCE.
#pragma once

#include "criu/parse/result.hh"

#include <array>
#include <cstdint>
#include <string_view>

namespace parse {

inline constexpr size_t kLimitCount = 16; ///< RLIM_NLIMITS

struct Limit {
    uint64_t soft = 0, hard = 0; ///< ~0 (RLIM_INFINITY) where the kernel prints "unlimited"
    bool operator==(const Limit &) const = default;
};

/// Indexed by RLIMIT_*.
using Limits = std::array<Limit, kLimitCount>;

Result<Limits> parse_limits(std::string_view text);

} // namespace parse
