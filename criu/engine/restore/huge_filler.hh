// Filling fully populated memory by huge pages.
//
// What a restore waits for is not the copying but the page faults: 4 KiB at a time they limit it to less than 2 GB/s.
// Where 2 MiB of an anonymous mapping are populated completely, they are read into staging memory made of huge pages,
// and the pages are moved into place with UFFDIO_MOVE, which keeps them huge without marking the mapping (MADV_HUGEPAGE
// cannot be undone). Several threads share the work of a large task.
//
// Memory that a virtual machine has given back to its host is the exception: getting huge pages again is slower than
// getting small ones. The filler times itself and stops when that is the case.
#pragma once

#include "base/result.hh"
#include "base/unique_fd.hh"
#include "criu/pages/source.hh"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace restore {

/// A piece of a file that belongs to a piece of memory.
struct Fill {
    std::byte *to = nullptr;
    uint64_t bytes = 0;
    int fd = -1;
    uint64_t offset = 0;                      ///< in the file; of what is compressed the address in the image
    const pages::PackedRun *packed = nullptr; ///< what it is a part of, if it is compressed

    /// The part from `skipped` bytes on.
    Fill part(uint64_t skipped, uint64_t size) const { return {to + skipped, size, fd, offset + skipped, packed}; }
    /// Reads all of it to another place. Errors: BadImage, System.
    base::Result<void> read(std::byte *into) const;
};

/// Threads that so much work is worth, `most` at most; 0: as many as there are processors.
uint64_t worthwhile_threads(uint64_t bytes, unsigned most);

/// Memory that is filled as a whole, from several pieces of files.
struct Stretch {
    std::byte *to = nullptr;
    uint64_t bytes = 0;
    size_t first = 0; ///< of its pieces
};

class HugeFiller {
public:
    /// `unpackers`: threads that may unpack what is compressed; 0: one for each processor.
    explicit HugeFiller(unsigned unpackers = 0) : unpackers_(unpackers) {}
    /// Splits off the part that can be filled by huge pages; what remains at the two ends is the caller's, and all of
    /// it where this cannot be done here. `pieces`: memory without a gap.
    std::vector<Fill> take(const std::vector<Fill> &pieces);
    /// Fills what was taken. What it had to leave is returned to be filled in the ordinary way.
    base::Result<std::vector<Fill>> run();

private:
    unsigned unpackers_;
    base::UniqueFd uffd_;
    std::vector<Fill> pieces_; ///< of all stretches
    std::vector<Stretch> taken_;
};

} // namespace restore
