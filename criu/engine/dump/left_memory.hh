// dump --lazy-pages: memory that stays in the stopped tasks until a lazy restore elsewhere has asked for all of it.
#pragma once

#include "criu/engine/dump/page_sender.hh"
#include "criu/pages/link.hh"
#include "criu/pages/page_giver.hh"

#include <map>

namespace dump {

/// What was left where.
class LeftMemory final : public pages::PageGiver {
public:
    /// Errors: System if the task's memory cannot be opened.
    Result<void> add(const tree::TaskFacts &task, const std::vector<PageRun> &runs);
    Result<uint64_t> available(uint32_t pid, uint64_t address, uint64_t most) override;
    Result<void> read(uint32_t pid, uint64_t address, std::span<std::byte> into) override;

private:
    struct Task {
        base::Pid voice;
        compel::RemoteMemory memory;
        std::vector<pages::Extent> extents; ///< ascending
    };
    std::map<uint32_t, Task> tasks_; ///< by pid in the images
};

/// The end of the connection that waits for the one who wants it.
class LazyServer {
public:
    /// Before the tree is stopped: an address that cannot be used should cost it nothing.
    static Result<std::unique_ptr<LazyServer>> open(const pages::Link &link);
    uint16_t port() const { return listening_ ? listening_->port : 0; }
    /// Until the other end has all it wants. Errors: as pages::give_pages().
    Result<void> serve(LeftMemory &memory);

private:
    explicit LazyServer(const pages::Link &link) : link_(link) {}
    const pages::Link &link_;
    std::optional<pages::Listening> listening_;
    base::UniqueFd given_;
};

} // namespace dump
