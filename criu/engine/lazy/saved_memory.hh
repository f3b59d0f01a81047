// Where the pages of a lazy restore come from: the images, and what is not in them from a page server.
#pragma once

#include "criu/engine/lazy/missing.hh"
#include "criu/engine/lazy/remote_pages.hh"
#include "criu/pages/source.hh"

#include <map>
#include <memory>

namespace lazy {

class SavedMemory {
public:
    /// `remote` may be null.
    static Result<SavedMemory> open(pages::Chain chain, std::unique_ptr<RemotePages> remote);

    /// Looks at the images of one process. What of it comes later; empty for one that has ended.
    /// Errors: BadImage, also for pages that only a page server has where there is none.
    Result<Missing> begin(uint32_t pid);
    /// Pages of a process that begin() knows. May be called by several threads.
    /// Errors: System and BadImage where they cannot be had.
    Result<void> read(uint32_t pid, uint64_t address, std::span<std::byte> into) const;
    /// Nothing more is wanted.
    Result<void> finish() const;
    bool is_remote() const { return remote_ != nullptr; }

private:
    SavedMemory(pages::Chain chain, std::unique_ptr<RemotePages> remote)
        : chain_(std::move(chain)), remote_(std::move(remote)) {}

    pages::Chain chain_;
    std::unique_ptr<RemotePages> remote_;
    std::map<uint32_t, pages::OpenMemory> memories_;
};

} // namespace lazy
