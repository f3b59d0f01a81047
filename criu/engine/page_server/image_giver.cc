#include "criu/engine/page_server/image_giver.hh"

#include "base/ids.hh"

#include <algorithm>

namespace page_server {

using pages::Result;

/// Null for a process that has no images. Files are opened when they are first asked for.
Result<const pages::OpenMemory *> ImageGiver::memory_of(uint32_t pid) {
    auto found = known_.find(pid);
    if (found != known_.end())
        return &found->second;
    if (!chain_.newest().exists(image::ImageKind::Pagemap, pid))
        return nullptr;
    return &known_.emplace(pid, TRY(pages::OpenMemory::open(chain_, image::ImageKind::Pagemap, pid))).first->second;
}

Result<uint64_t> ImageGiver::available(uint32_t pid, uint64_t address, uint64_t most) {
    const pages::OpenMemory *memory = TRY(memory_of(pid));
    if (!memory)
        return 0;
    const uint64_t wanted = address + most * base::kPageSize;
    uint64_t end = address;
    for (auto run = memory->index.first_behind(address);
         run != memory->index.runs.end() && run->start <= end && end < wanted && !run->remote; ++run)
        end = std::min(run->end, wanted);
    return (end - address) / base::kPageSize;
}

Result<void> ImageGiver::read(uint32_t pid, uint64_t address, std::span<std::byte> into) {
    return TRY(memory_of(pid))->read(address, into);
}

} // namespace page_server
