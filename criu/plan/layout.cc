#include "criu/plan/layout.hh"

#include "base/ids.hh"

#include <algorithm>
#include <fmt/format.h>

namespace plan {
namespace {

constexpr uint64_t kLowest = 1u << 21, kHighest = base::kUserEnd;
constexpr uint64_t kMargin = 16u << 20; // stacks grow, and must not meet us

uint64_t align(uint64_t x) {
    return (x + base::kHugePageSize - 1) & ~(base::kHugePageSize - 1);
}

} // namespace

Result<Arena> place_arena(std::vector<Range> taken, uint64_t memory) {
    Arena arena;
    arena.size = align(Arena::kMemoryAt + memory + kMargin);
    std::sort(taken.begin(), taken.end(), [](const Range &a, const Range &b) { return a.start < b.start; });
    taken.push_back({kHighest, kHighest});
    uint64_t at = kLowest;
    for (const Range &range : taken) {
        const uint64_t from = align(at + kMargin);
        if (range.start > from + kMargin && range.start - kMargin - from >= arena.size) {
            arena.base = from;
            return arena;
        }
        at = std::max(at, range.end);
    }
    return base::unsupported(fmt::format("no hole of {} bytes in the address spaces of all tasks", arena.size));
}

} // namespace plan
