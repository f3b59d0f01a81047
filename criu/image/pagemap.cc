#include "criu/image/pagemap.hh"

#include "base/ids.hh"

#include <fmt/format.h>
#include <utility>

namespace image {

uint64_t pages_of(const img::pagemap_entry &run) {
    return run.has_nr_pages() ? run.nr_pages() : run.compat_nr_pages();
}

img::pagemap_entry present_run(uint64_t vaddr, uint64_t pages) {
    img::pagemap_entry run;
    run.set_vaddr(vaddr);
    run.set_compat_nr_pages(std::in_range<uint32_t>(pages) ? static_cast<uint32_t>(pages) : 0);
    run.set_nr_pages(pages);
    run.set_flags(kPePresent);
    return run;
}

uint64_t end_of(const img::pagemap_entry &run) {
    return run.vaddr() + pages_of(run) * base::kPageSize;
}

uint32_t flags_of(const img::pagemap_entry &run) {
    if (run.in_parent()) // whatever the flags say, as CRIU reads it
        return kPeParent;
    return run.has_flags() ? run.flags() : kPePresent;
}

uint64_t PagemapImage::stored_pages() const {
    uint64_t pages = 0;
    for (const auto &run : entries)
        if (flags_of(run) & kPePresent)
            pages += pages_of(run);
    return pages;
}

base::Result<PagemapImage> ImageDir::read_pagemap(ImageKind kind, uint64_t id) const {
    PagemapImage image;
    auto file = TRY(open_entries(kind, id));
    if (!file)
        return image;
    std::string name = image_file_name(kind, id);
    if (!TRY(file->reader.next(image.head)))
        return base::bad_image(name + ": offset 8: truncated: no head");
    uint64_t end = 0;
    img::pagemap_entry run;
    while (auto place = TRY(file->reader.next(run))) {
        uint64_t pages = pages_of(run);
        bool fits = run.vaddr() % base::kPageSize == 0 && run.vaddr() >= end &&
                    pages <= (UINT64_MAX - run.vaddr()) / base::kPageSize;
        if (!fits)
            return base::bad_image(fmt::format("{}: offset {}: {} pages at {:#x} overlap or overflow", name,
                                               place->offset, pages, run.vaddr()));
        end = run.vaddr() + pages * base::kPageSize;
        image.entries.push_back(run);
    }
    return image;
}

base::Result<void> check_pages_file(const ImageDir &dir, ImageKind kind, uint64_t id, const PagemapImage &pagemap) {
    uint64_t needed = pagemap.stored_pages() * base::kPageSize;
    uint64_t size = TRY(dir.file_size(ImageKind::Pages, pagemap.head.pages_id()));
    if (size < needed)
        return base::bad_image(fmt::format("{}: offset {}: truncated: {} describes {} bytes",
                                           image_file_name(ImageKind::Pages, pagemap.head.pages_id()), size,
                                           image_file_name(kind, id), needed));
    return {};
}

} // namespace image
