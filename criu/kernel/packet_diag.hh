// Packet sockets as the kernel lists them (SOCK_DIAG): what getsockopt(2) does not tell.
#pragma once

#include "base/result.hh"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace kernel {

using base::Result;

struct PacketRing {
    uint32_t block_size = 0, block_count = 0, frame_size = 0, frame_count = 0;
    uint32_t retire_timeout = 0, private_size = 0, features = 0;
};

struct PacketMembership {
    uint32_t interface = 0, count = 0;
    uint16_t type = 0;
    std::string address;
};

struct PacketSocketFacts {
    uint32_t inode = 0;
    uint16_t protocol = 0; ///< host order
    uint32_t interface = 0;
    std::vector<PacketMembership> memberships;
    std::optional<PacketRing> receive_ring, send_ring;
    std::optional<uint32_t> fanout; ///< id, type << 16
};

/// All packet sockets of the caller's network namespace. Errors: Unsupported where the kernel does not list them.
Result<std::vector<PacketSocketFacts>> list_packet_sockets();

} // namespace kernel
