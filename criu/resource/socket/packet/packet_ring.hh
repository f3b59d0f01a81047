// How far the kernel has come in the ring of a packet socket that receives, and what in it nobody has read yet.
//
// The program waits at the place behind the last packet it has read, so the kernel of the restore has to write there.
// No call moves it: packets of our own do, over the loopback device, before the socket is bound to what it listens to.
#pragma once

#include "base/log.hh"
#include "base/result.hh"
#include "images_pb.hh"

#include <cstddef>
#include <cstdint>
#include <span>

namespace resource::packet_socket {

using base::Result;

/// The shape of a ring: slots are the units that kernel and program pass to each other.
struct RingShape {
    uint32_t version = 0; ///< TPACKET_V1 to V3
    uint32_t block_size = 0, block_count = 0, frame_size = 0;

    /// Blocks in version 3, frames before. 0: it is none that the kernel makes.
    uint32_t slots() const;
    uint32_t slot_size() const;
    size_t offset(uint32_t slot) const;
    size_t bytes() const { return static_cast<size_t>(block_size) * block_count; }
};
RingShape shape_of(uint32_t version, const img::packet_ring &ring);

/// Reads the place from the ring's memory. `lost`: packets that the kernel would still have added others to.
img::ext_packet_ring find_place(const RingShape &shape, std::span<const std::byte> memory, uint32_t &lost);

/// Both rings exist. `entry` says how they were made.
Result<void> dump_ring(int fd, base::Log &log, img::packet_sock_entry *entry);
/// Both rings exist, filters do not, and nothing is bound. Leaves the socket bound to a protocol that nobody speaks.
Result<void> restore_ring_place(int fd, base::Log &log, const img::packet_sock_entry &entry);

} // namespace resource::packet_socket
