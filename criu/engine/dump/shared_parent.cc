#include "criu/engine/dump/shared_parent.hh"

#include <algorithm>
#include <cstring>

namespace dump {

std::optional<SharedParent> SharedParent::find(const ParentImages &parent, image::ImageKind kind, uint64_t id) {
    auto index = pages::index_pages(parent.chain(), kind, id);
    if (!index || index->runs.empty())
        return std::nullopt;
    auto source = pages::PageSource::open(parent.chain(), *index);
    if (!source)
        return std::nullopt;
    return SharedParent(std::move(*index), std::move(*source));
}

Result<std::vector<bool>> SharedParent::has(uint64_t offset, std::span<const std::byte> bytes) {
    const uint64_t end = offset + bytes.size();
    std::vector<bool> same(bytes.size() / base::kPageSize);
    for (auto run = index_.first_behind(offset); run != index_.runs.end() && run->start < end; ++run) {
        const uint64_t from = std::max(offset, run->start), to = std::min(end, run->end);
        buffer_.resize(to - from);
        TRY(source_.read(index_, from, buffer_));
        for (uint64_t at = from; at < to; at += base::kPageSize)
            same[(at - offset) / base::kPageSize] =
                std::memcmp(&bytes[at - offset], &buffer_[at - from], base::kPageSize) == 0;
    }
    return same;
}

} // namespace dump
