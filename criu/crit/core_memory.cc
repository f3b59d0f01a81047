#include "criu/crit/core_memory.hh"

#include <algorithm>

namespace crit {

base::Result<SavedMemory> SavedMemory::load(const image::ImageDir &dir, image::ImageKind kind, uint64_t id) {
    SavedMemory memory;
    auto pagemap = TRY(dir.read_pagemap(kind, id));
    auto pages = TRY(dir.open_raw(image::ImageKind::Pages, pagemap.head.pages_id()));
    const bool has_older = std::ranges::any_of(
        pagemap.entries, [](const img::pagemap_entry &run) { return image::flags_of(run) & image::kPeParent; });
    memory.levels_.push_back({std::move(pagemap), pages ? std::move(*pages) : base::UniqueFd()});
    if (!has_older)
        return memory;
    auto parent = TRY(dir.parent());
    if (!parent)
        return base::bad_image("pages are in the images of an earlier dump, and there is no folder parent");
    for (Level &older : TRY_CTX(load(*parent, kind, id), "parent").levels_)
        memory.levels_.push_back(std::move(older));
    return memory;
}

base::Result<void> SavedMemory::each_in(size_t level, uint64_t start, uint64_t end,
                                        const std::function<base::Result<void>(const SavedPages &)> &use) const {
    if (level >= levels_.size())
        return {};
    uint64_t at = 0;
    for (const img::pagemap_entry &run : levels_[level].pagemap.entries) {
        const uint64_t from = std::max(run.vaddr(), start), to = std::min(image::end_of(run), end);
        const uint32_t flags = image::flags_of(run);
        if (from < to && (flags & image::kPePresent))
            TRY(use({from, to, levels_[level].pages.get(), at + (from - run.vaddr())}));
        else if (from < to && (flags & image::kPeParent))
            TRY(each_in(level + 1, from, to, use));
        if (flags & image::kPePresent)
            at += image::end_of(run) - run.vaddr();
    }
    return {};
}

base::Result<void> SavedMemory::each(uint64_t start, uint64_t end,
                                     const std::function<base::Result<void>(const SavedPages &)> &use) const {
    return each_in(0, start, end, use);
}

} // namespace crit
