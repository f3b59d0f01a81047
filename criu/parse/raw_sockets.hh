// /proc/PID/net/raw, raw6, icmp and icmp6: the only place that tells whom a raw socket is connected to.
#pragma once

#include "criu/parse/result.hh"

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace parse {

struct RawSocket {
    uint64_t inode = 0;
    uint32_t state = 0;
    std::array<uint8_t, 16> peer{}; ///< network order; IPv4 takes 4 bytes
    uint16_t peer_port = 0;
    bool operator==(const RawSocket &) const = default;
};

Result<std::vector<RawSocket>> parse_raw_sockets(std::string_view text);

} // namespace parse
