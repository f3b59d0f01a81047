// Bringing page contents from pages-N.img into memory.
#pragma once

#include "criu/engine/restore/memory.hh"

namespace restore {

struct ReadPagesOptions {
    bool lazily = false;    ///< what may come later is left out
    unsigned unpackers = 0; ///< threads that unpack what is compressed; 0: one for each processor
};

/// Reads the pages of a task that belong to the given regions (ascending by final address) to where these are in the
/// arena. In inherited regions, pages that are equal to those of `parent` (what that task has saved) stay shared.
/// Errors: System while reading; BadImage for compressed pages that are damaged.
Result<void> read_pages(const pages::Chain &chain, const plan::TaskImage &task, const pages::PageIndex *parent,
                        const std::vector<const plan::Region *> &regions, const ReadPagesOptions &how,
                        MemoryCounters &counters);

/// Reads the pages of a shared memory object, which `index` has found, to `memory`. Errors as below. The object may be
/// larger than its mappings show: a program can still reach that (mremap(2) lets a mapping grow into it).
Result<void> fill_shared(const pages::Chain &chain, uint64_t id, const pages::PageIndex &index, std::byte *memory,
                         uint64_t size);

/// Reads the pages of shared memory object `id` to `memory`. Errors: BadImage for pages behind `size`.
Result<void> fill_shared(const pages::Chain &chain, uint64_t id, std::byte *memory, uint64_t size);

} // namespace restore
