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

#include <cstddef>
#include <cstdint>
#include <vector>

namespace restore {

/// A piece of a file that belongs to a piece of memory.
struct Fill {
    std::byte *to = nullptr;
    uint64_t bytes = 0;
    int fd = -1;
    uint64_t offset = 0; ///< in the file
};

/// Memory that is filled as a whole, from several pieces of files.
struct Stretch {
    std::byte *to = nullptr;
    uint64_t bytes = 0;
    size_t first = 0; ///< of its pieces
};

class HugeFiller {
public:
    /// Splits off the part that can be filled by huge pages; what remains at the two ends is the caller's, and all of
    /// it where this cannot be done here. `pieces`: memory without a gap.
    std::vector<Fill> take(const std::vector<Fill> &pieces);
    /// Fills what was taken. What it had to leave is returned to be filled in the ordinary way.
    base::Result<std::vector<Fill>> run();

private:
    base::UniqueFd uffd_;
    std::vector<Fill> pieces_; ///< of all stretches
    std::vector<Stretch> taken_;
};

} // namespace restore
