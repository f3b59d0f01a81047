// /proc/PID/net/igmp and igmp6: the multicast groups that the interfaces of a network namespace have joined.
#pragma once

#include "criu/parse/result.hh"

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace parse {

struct MulticastGroup {
    uint32_t interface = 0;
    std::array<uint8_t, 16> address{}; ///< network order; IPv4 takes 4 bytes
    uint32_t users = 0;
    bool operator==(const MulticastGroup &) const = default;
};

Result<std::vector<MulticastGroup>> parse_igmp(std::string_view text);
Result<std::vector<MulticastGroup>> parse_igmp6(std::string_view text);

} // namespace parse
