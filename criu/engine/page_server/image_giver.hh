// Memory of a checkpoint's processes, out of its images and those they build on.
#pragma once

#include "criu/pages/page_giver.hh"
#include "criu/pages/source.hh"

#include <map>

namespace page_server {

class ImageGiver final : public pages::PageGiver {
public:
    explicit ImageGiver(pages::Chain chain) : chain_(std::move(chain)) {}
    pages::Result<uint64_t> available(uint32_t pid, uint64_t address, uint64_t most) override;
    pages::Result<void> read(uint32_t pid, uint64_t address, std::span<std::byte> into) override;

private:
    pages::Result<const pages::OpenMemory *> memory_of(uint32_t pid);

    pages::Chain chain_;
    std::map<uint32_t, pages::OpenMemory> known_;
};

} // namespace page_server
