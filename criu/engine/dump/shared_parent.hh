// Shared memory in incremental dumps: compared with what the images before have, page by page. Writes to it could come
// through any mapping of any process, and through no mapping at all; its contents are the only thing that tells.
#pragma once

#include "criu/engine/dump/parent_images.hh"
#include "criu/pages/source.hh"

#include <span>

namespace dump {

class SharedParent {
public:
    /// Nothing if the images before do not have the object.
    static std::optional<SharedParent> find(const ParentImages &parent, image::ImageKind kind, uint64_t id);

    /// For each page of `bytes`, which lie at `offset` of the object: whether the same is there. Errors: System.
    Result<std::vector<bool>> has(uint64_t offset, std::span<const std::byte> bytes);

private:
    explicit SharedParent(pages::OpenMemory memory) : memory_(std::move(memory)) {}

    pages::OpenMemory memory_;
    std::vector<std::byte> buffer_;
};

} // namespace dump
