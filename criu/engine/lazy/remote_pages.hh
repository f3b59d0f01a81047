// Pages that a page server has: asked for over its connection. Several questions may be under way; answers come in
// their order.
#pragma once

#include "criu/pages/channel.hh"

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>

namespace lazy {

using base::Result;

class RemotePages {
public:
    explicit RemotePages(std::unique_ptr<pages::Channel> channel);

    /// May be called by several threads. Errors: System when the other end has gone; BadImage for an answer that does
    /// not fit: nothing can be read afterwards.
    Result<void> read(uint32_t pid, uint64_t address, std::span<std::byte> into);
    /// Tells the other end that this was all.
    Result<void> finish();

private:
    Result<size_t> ask(uint32_t pid, uint64_t address, std::span<std::byte> into);
    Result<size_t> take_answer(uint32_t pid, uint64_t address, std::span<std::byte> into);

    std::unique_ptr<pages::Channel> channel_;
    std::mutex sending_; ///< also for the order of tickets
    std::mutex mutex_;
    std::condition_variable turn_;
    uint64_t next_ticket_ = 0, now_ = 0; ///< whose answer comes next
    bool broken_ = false;
};

} // namespace lazy
