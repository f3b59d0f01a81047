// Where the memory of a dump goes: into the image directory, or to a page server. Everything else of a checkpoint is
// written into the directory either way.
#pragma once

#include "base/result.hh"
#include "criu/image/pagemap.hh"
#include "criu/image/registry.hh"
#include "criu/kernel/io.hh"

#include <cstddef>
#include <memory>
#include <optional>
#include <span>

namespace image {
class ImageDirWriter;
}

namespace pages {

using base::Result;

enum class PageKind : uint8_t { Small, Huge };

/// The pagemap and the pages of one process or one shared memory object, while they are written: runs ascending, the
/// pages of present ones in the same order.
class MemoryOutput {
public:
    MemoryOutput() = default;
    virtual ~MemoryOutput() = default;
    MemoryOutput(const MemoryOutput &) = delete;
    MemoryOutput &operator=(const MemoryOutput &) = delete;

    /// Whether a run may be left to the parent: whoever keeps the pages has this object in the directory before.
    /// Nothing where that is for the caller to find out.
    virtual std::optional<bool> has_parent() const { return std::nullopt; }
    /// `kind`: huge pages stay as they are where others are compressed.
    virtual Result<void> add(const img::pagemap_entry &run, PageKind kind = PageKind::Small) = 0;
    /// Whether the pages are written by the caller to file(), in whatever order; otherwise they are handed over with
    /// put(), each run's behind it.
    virtual bool has_file() const = 0;
    /// A file whose bytes from 0 on are the pages of all present runs. Created by the first call.
    virtual Result<int> file() = 0;
    /// The next bytes of the last run added.
    virtual Result<void> put(std::span<const std::byte> bytes) = 0;
    /// Nothing comes behind it.
    virtual Result<void> close() = 0;

    /// As has_file() wants it: for a caller whose bytes come in the order of the runs. `offset`: of them all, from 0.
    Result<void> write(std::span<const std::byte> bytes, uint64_t offset) {
        return has_file() ? kernel::write_at(TRY(file()), bytes, offset) : put(bytes);
    }
};

class PageSink {
public:
    PageSink() = default;
    virtual ~PageSink() = default;
    PageSink(const PageSink &) = delete;
    PageSink &operator=(const PageSink &) = delete;

    /// Begins the memory of an object. `kind`: Pagemap (by pid) or ShmemPagemap (by id). `object_size`: 0, or what
    /// pagemap_head says of it. Several may be written at a time only where they have files.
    virtual Result<std::unique_ptr<MemoryOutput>> open(image::ImageKind kind, uint64_t id,
                                                       uint64_t object_size = 0) = 0;
    /// Everything is there, as far as it depends on the other end. Nothing may be opened afterwards.
    virtual Result<void> finish() = 0;
};

/// Writes the head of a pagemap, which names the file of its pages. As PageSink::open().
Result<void> begin_pagemap(image::ImageDirWriter &images, image::ImageKind kind, uint64_t id, uint32_t pages_id,
                           uint64_t object_size);

/// Into pagemap-N.img and pages-N.img of a directory.
std::unique_ptr<PageSink> directory_sink(image::ImageDirWriter &images, uint32_t first_pages_id = 1);

} // namespace pages
