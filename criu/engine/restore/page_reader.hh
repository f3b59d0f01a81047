// Bringing page contents from pages-N.img into memory.
#pragma once

#include "criu/engine/restore/memory.hh"

namespace restore {

/// Reads the pages of a task that belong to the given regions (ascending by final address) to where these are in the
/// arena. In inherited regions, pages that are equal to those of `parent` (what it has in its pagemap) stay shared.
/// Errors: System while reading; Unsupported for incremental images.
Result<void> read_pages(const image::ImageDir &images, const plan::TaskImage &task, const image::PagemapImage *parent,
                        const std::vector<const plan::Region *> &regions, MemoryCounters &counters);

/// What the image tells of the size of a shared memory object: 0, or more than its mappings show if a part of it is
/// mapped nowhere (any more). A program can still reach that: mremap(2) lets a mapping grow into it.
uint64_t told_size(const image::PagemapImage &pagemap);

/// Reads the pages of shared memory object `id`, which `pagemap` describes, to `memory`. Errors as below.
Result<void> fill_shared(const image::ImageDir &images, uint64_t id, const image::PagemapImage &pagemap,
                         std::byte *memory, uint64_t size);

/// Reads the pages of shared memory object `id` to `memory`. Errors: BadImage for pages behind `size`.
Result<void> fill_shared(const image::ImageDir &images, uint64_t id, std::byte *memory, uint64_t size);

} // namespace restore
