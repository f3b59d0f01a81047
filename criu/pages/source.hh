// Reading pages that an index has found, from the files of a chain.
#pragma once

#include "base/unique_fd.hh"
#include "criu/pages/index.hh"

#include <cstddef>
#include <span>

namespace pages {

/// Bytes of a file. What is read straight from there needs no copy of ours.
struct Place {
    int fd = -1;
    uint64_t offset = 0;
};

/// Reads pages of a run that is compressed, from its pages file. Errors: BadImage.
Result<void> read_packed(int fd, const PackedRun &run, uint64_t address, std::span<std::byte> to);

class PageSource {
public:
    /// Opens the files that the index refers to, and no others. Errors: BadImage for one that is missing.
    static Result<PageSource> open(const Chain &chain, const PageIndex &index);

    /// Where the page at `address` lies, which belongs to `run`, one that is not compressed; those behind it in the run
    /// follow there.
    Place locate(const Run &run, uint64_t address) const {
        return {files_[run.level].get(), run.offset + (address - run.start)};
    }
    int file(const Run &run) const { return files_[run.level].get(); }
    /// Reads bytes that may lie in several runs. Errors: BadImage where a page is not saved.
    Result<void> read(const PageIndex &index, uint64_t address, std::span<std::byte> to) const;

private:
    PageSource() = default;
    std::vector<base::UniqueFd> files_; ///< by level
};

/// The saved memory of one process or object, ready to be read.
struct OpenMemory {
    PageIndex index;
    PageSource source;

    /// Errors: as index_pages() and PageSource::open().
    static Result<OpenMemory> open(const Chain &chain, image::ImageKind kind, uint64_t id);
    Result<void> read(uint64_t address, std::span<std::byte> to) const { return source.read(index, address, to); }
};

} // namespace pages
