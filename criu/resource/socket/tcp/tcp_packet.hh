// Segments that look as if the peer of a connection had sent them. Repair mode cannot set the states in which one
// direction has ended or the connection was reset: the kernel has to receive the segment that led there once more.
#pragma once

#include "base/result.hh"
#include "criu/resource/socket/inet/inet_address.hh"

namespace resource {

using base::Result;

struct TcpSegment {
    Endpoint from, to;
    uint32_t sequence = 0, acknowledged = 0;
    uint16_t window = 0;
    bool fin = false, reset = false;
};

/// Sends it to a socket of this network namespace; the network lock lets it through.
Result<void> inject_segment(const TcpSegment &segment);

} // namespace resource
