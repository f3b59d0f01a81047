// Packets that look as if somebody else had sent them, for sockets of this network namespace. The network lock lets
// them through.
#pragma once

#include "base/result.hh"
#include "criu/resource/socket/inet/inet_address.hh"

#include <span>
#include <string_view>
#include <vector>

namespace resource {

using base::Result;

/// The internet checksum (RFC 1071) of a transport packet with its pseudo header, in network order.
uint16_t transport_checksum(const Endpoint &from, const Endpoint &to, uint8_t protocol,
                            std::span<const uint8_t> packet);

struct ForgedPacket {
    Endpoint from, to; ///< IPv4, or IPv6 that is not mapped
    uint8_t protocol = 0;
    uint8_t ttl = 64, tos = 0;
    std::span<const uint8_t> payload; ///< the transport packet
};
Result<void> send_forged(const ForgedPacket &packet);

} // namespace resource
