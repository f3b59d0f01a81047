// Where the contents of each page of a memory are: in which directory of a chain, and at which offset of its pages
// file.
//
// An incremental pagemap says of some pages only "as before": they are looked up by their address in the pagemap of the
// parent directory, which may say the same again. All of that is resolved once, as the images are loaded; what is left
// is a plain list, in which a page of the newest directory and one of an old one look alike.
#pragma once

#include "criu/image/pagemap.hh"
#include "criu/pages/chain.hh"

#include <algorithm>
#include <optional>
#include <vector>

namespace pages {

/// Pages that lie one after the other, in memory and in a file.
struct Run {
    uint64_t start = 0, end = 0; ///< addresses; of a shared object: offsets
    uint64_t offset = 0;         ///< of the first page in the pages file
    uint32_t level = 0;          ///< of the chain
    bool lazy = false;           ///< may come later
    bool remote = false;         ///< in no file: a page server has it (dump --lazy-pages)
    static constexpr uint32_t kPlain = UINT32_MAX;
    uint32_t packed =
        kPlain; ///< compressed: which of the index's packed entries it is a part of; `offset` is none then
    bool is_packed() const { return packed != kPlain; }
    bool operator==(const Run &) const = default;
};

/// Pages that were compressed together, block by block.
struct PackedRun {
    uint64_t start = 0, end = 0; ///< addresses
    uint64_t block_bytes = 0;    ///< what a block holds, but for the last one
    image::Codec codec{};
    std::vector<uint64_t> offsets; ///< in the pages file: of each block, and behind the last one

    uint64_t block_start(size_t i) const { return start + i * block_bytes; }
    uint64_t block_end(size_t i) const { return std::min(end, block_start(i + 1)); }
};

struct PageIndex {
    std::vector<Run> runs;         ///< ascending
    std::vector<PackedRun> packed; ///< what runs refer to
    /// Numbers of the pages files by level; nothing where no page is from.
    std::vector<std::optional<uint32_t>> files;
    uint64_t told_size = 0; ///< of a shared object, where the image tells it

    using Iterator = std::vector<Run>::const_iterator;
    /// The first run that reaches behind `at`.
    Iterator first_behind(uint64_t at) const;
    /// How far a shared object reaches by all that the image tells of it.
    uint64_t object_size() const;
};

/// Reads the pagemap and, as far as pages are there, those of the parents; checks that the pages files are long enough.
/// Without such an image the index is empty. Work and memory are bounded by the size of the images.
/// Errors: BadImage for pages that are in no directory of the chain and for flags that contradict each other;
/// Unsupported for pages of shared memory that were left with a page server.
Result<PageIndex> index_pages(const Chain &chain, image::ImageKind kind, uint64_t id);

} // namespace pages
