#include "criu/engine/lazy/saved_memory.hh"

#include <algorithm>
#include <fmt/format.h>

namespace lazy {

Result<SavedMemory> SavedMemory::open(pages::Chain chain, std::unique_ptr<RemotePages> remote) {
    return SavedMemory(std::move(chain), std::move(remote));
}

Result<Missing> SavedMemory::begin(uint32_t pid) {
    auto memory = TRY(pages::OpenMemory::open(chain_, image::ImageKind::Pagemap, pid));
    Missing missing;
    for (const pages::Run &run : memory.index.runs) {
        if (run.remote && !remote_)
            return base::fail(
                base::Error(base::ErrorKind::BadImage,
                            fmt::format("pagemap-{}.img: the pages at {:#x} have stayed with the dump", pid, run.start))
                    .hint("say where it is: --page-server --address A --port N"));
        if (run.lazy)
            missing.add({run.start, run.end, run.start});
    }
    memories_.insert_or_assign(pid, std::move(memory));
    return missing;
}

Result<void> SavedMemory::read(uint32_t pid, uint64_t address, std::span<std::byte> into) const {
    const pages::OpenMemory &memory = memories_.at(pid);
    for (auto run = memory.index.first_behind(address); !into.empty(); ++run) {
        if (run == memory.index.runs.end() || run->start > address)
            return base::bad_image(fmt::format("pagemap-{}.img: the page at {:#x} is not saved", pid, address));
        const auto part = into.first(std::min<uint64_t>(into.size(), run->end - address));
        TRY(run->remote ? remote_->read(pid, address, part) : memory.read(address, part));
        into = into.subspan(part.size());
        address += part.size();
    }
    return {};
}

Result<void> SavedMemory::finish() const {
    return remote_ ? remote_->finish() : Result<void>();
}

} // namespace lazy
