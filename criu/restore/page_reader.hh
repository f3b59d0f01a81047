// Bringing page contents from pages-N.img into memory.
#pragma once

#include "criu/restore/memory.hh"

namespace restore {

/// Reads the pages of a task that belong to the given regions (ascending by final address) to where these are in the
/// arena. In inherited regions, pages that are equal to those of `parent` (what it has in its pagemap) stay shared.
/// Errors: System while reading; Unsupported for incremental images.
Result<void> read_pages(const image::ImageDir &images, const plan::TaskImage &task, const image::PagemapImage *parent,
                        const std::vector<const plan::Region *> &regions, MemoryCounters &counters);

/// Reads the pages of shared memory object `id` to `memory`. Errors: BadImage for pages behind `size`.
Result<void> fill_shared(const image::ImageDir &images, uint64_t id, std::byte *memory, uint64_t size);

} // namespace restore
