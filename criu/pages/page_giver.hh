// The other end of a lazy restore: answers questions for pages (GET) until the asking side has all it wants.
#pragma once

#include "criu/pages/channel.hh"
#include "criu/pages/wire.hh"

#include <span>

namespace pages {

/// Has memory of processes, by their pids in the images.
class PageGiver {
public:
    PageGiver() = default;
    virtual ~PageGiver() = default;
    PageGiver(const PageGiver &) = delete;
    PageGiver &operator=(const PageGiver &) = delete;

    /// How many pages from there on it has, without a gap, `most` at most. 0: not that page, or not that process.
    virtual Result<uint64_t> available(uint32_t pid, uint64_t address, uint64_t most) = 0;
    /// Some of these.
    virtual Result<void> read(uint32_t pid, uint64_t address, std::span<std::byte> into) = 0;
};

/// Errors: System when the other end goes without saying that this was all; BadImage for what nobody asks.
Result<void> give_pages(Channel &channel, PageGiver &giver);

} // namespace pages
