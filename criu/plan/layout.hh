// Where a restore puts its own things while the tasks' address spaces are rebuilt.
//
// The arena is one stretch of address space that no mapping of any task touches. It holds the agent, the memory shared
// with the coordinator, the parked vdso, and all private memory of the task at temporary addresses; everything outside
// of it is unmapped, then each mapping is moved from the arena to its place, and at the very end the arena is unmapped
// as a whole. It is at the same addresses in all tasks, so that children inherit what their parents have put there.
#pragma once

#include "base/result.hh"

#include <cstdint>
#include <vector>

namespace plan {

using base::Result;

struct Range {
    uint64_t start = 0, end = 0;
    bool operator==(const Range &) const = default;
};

struct Arena {
    uint64_t base = 0, size = 0;
    uint64_t code() const { return base; }
    uint64_t rendezvous() const { return base + (64u << 10); }
    uint64_t parking() const { return base + (128u << 10); } ///< vdso and its data, 512 KiB
    uint64_t data() const { return base + (1u << 20); }      ///< operations and what they point to
    uint64_t memory() const { return base + kMemoryAt; }     ///< mappings on their way
    uint64_t end() const { return base + size; }

    static constexpr uint64_t kMemoryAt = 1u << 30;
    static constexpr uint64_t kParkingSize = 512u << 10;
    static constexpr uint64_t kWaitingRoomsAt = 640u << 10, kWaitingRoomsEnd = 1u << 20; ///< waiting_room.hh
};

/// Of the arena's room for plans, the part of one process: operations and their data from its start upwards, stacks of
/// its threads from its end downwards. Processes of one address space (CLONE_VM) have it side by side.
inline Range plan_room(const Arena &arena, size_t place, size_t processes) {
    constexpr uint64_t kPage = 4096;
    const uint64_t part = (arena.memory() - arena.data()) / processes & ~(kPage - 1);
    const uint64_t start = arena.data() + place * part;
    return {start, place + 1 == processes ? arena.memory() : start + part};
}

/// Finds room for an arena with `memory` bytes of mappings. `taken`: all ranges in use by anybody, in any order.
/// Errors: Unsupported when no hole is large enough.
Result<Arena> place_arena(std::vector<Range> taken, uint64_t memory);

} // namespace plan
