#include "criu/crit/core_memory.hh"

#include <algorithm>

namespace crit {

base::Result<SavedMemory> SavedMemory::load(const image::ImageDir &dir, image::ImageKind kind, uint64_t id) {
    const auto chain = TRY(pages::Chain::open(dir.fd()));
    SavedMemory memory;
    memory.memory_ = std::make_shared<pages::OpenMemory>(TRY(pages::OpenMemory::open(chain, kind, id)));
    return memory;
}

base::Result<void> SavedMemory::each(uint64_t start, uint64_t end,
                                     const std::function<base::Result<void>(const SavedPages &)> &use) const {
    const auto &runs = memory_->index.runs;
    for (auto run = memory_->index.first_behind(start); run != runs.end() && run->start < end; ++run) {
        const uint64_t from = std::max(run->start, start), to = std::min(run->end, end);
        if (!run->remote)
            TRY(use({from, to, memory_, from}));
    }
    return {};
}

} // namespace crit
