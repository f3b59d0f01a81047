#include "criu/engine/dump/shared_parent.hh"

#include <algorithm>
#include <cstring>

namespace dump {

std::optional<SharedParent> SharedParent::find(const ParentImages &parent, image::ImageKind kind, uint64_t id) {
    auto memory = pages::OpenMemory::open(parent.chain(), kind, id);
    if (!memory || memory->index.runs.empty())
        return std::nullopt;
    return SharedParent(std::move(*memory));
}

Result<std::vector<bool>> SharedParent::has(uint64_t offset, std::span<const std::byte> bytes) {
    const uint64_t end = offset + bytes.size();
    std::vector<bool> same(bytes.size() / base::kPageSize);
    for (auto run = memory_.index.first_behind(offset); run != memory_.index.runs.end() && run->start < end; ++run) {
        const uint64_t from = std::max(offset, run->start), to = std::min(end, run->end);
        buffer_.resize(to - from);
        TRY(memory_.read(from, buffer_));
        for (uint64_t at = from; at < to; at += base::kPageSize)
            same[(at - offset) / base::kPageSize] =
                std::memcmp(&bytes[at - offset], &buffer_[at - from], base::kPageSize) == 0;
    }
    return same;
}

} // namespace dump
