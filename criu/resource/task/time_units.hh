// Times in nanoseconds.
#pragma once

#include <algorithm>
#include <cstdint>
#include <ctime>
#include <optional>

namespace resource {

constexpr int64_t kSecondNs = 1'000'000'000, kMillisecondNs = 1'000'000;

/// Nothing where there is no such clock.
inline std::optional<int64_t> now_ns(clockid_t clock) {
    timespec now{};
    if (clock_gettime(clock, &now) < 0)
        return std::nullopt;
    return now.tv_sec * kSecondNs + now.tv_nsec;
}

/// The limit of a poll(2) that takes no less than that: as many as fit its argument at most.
inline uint64_t to_poll_limit(uint64_t ns) {
    return std::min<uint64_t>((ns + kMillisecondNs - 1) / kMillisecondNs, INT32_MAX);
}

} // namespace resource
