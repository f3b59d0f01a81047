// Which pages of a process hold something that a dump must save.
#pragma once

#include "base/ids.hh"
#include "base/result.hh"
#include "base/unique_fd.hh"

#include <vector>

namespace pages {

using base::Pid;
using base::Result;

/// Pages, one after the other.
struct Extent {
    uint64_t start = 0; ///< address
    uint64_t pages = 0;
    uint64_t end() const { return start + pages * base::kPageSize; }
    bool operator==(const Extent &) const = default;
};

/// Appends, joining with the last extent where they touch.
void append(std::vector<Extent> &extents, Extent extent);

enum class Mapping { Anonymous, PrivateFile };

struct ScanResult {
    std::vector<Extent> data;   ///< to be saved
    std::vector<Extent> guards; ///< MADV_GUARD_INSTALL
};

/// Looks through the page tables of one process with PAGEMAP_SCAN, or by reading /proc/PID/pagemap on kernels
/// before 6.7.
class PageScanner {
public:
    /// Needs the right to ptrace the process.
    static Result<PageScanner> open(Pid pid);

    /// Finds the pages in [start, end) that the process has written: present or swapped out, not the zero page, and for
    /// private file mappings not the file's. The range may span several mappings of the same kind.
    /// A process that died has no pages and is no error: the caller knows it by other means.
    Result<void> scan(uint64_t start, uint64_t end, Mapping mapping, ScanResult &result);

private:
    explicit PageScanner(base::UniqueFd fd) : fd_(std::move(fd)) {}
    Result<void> scan_ioctl(uint64_t start, uint64_t end, Mapping mapping, ScanResult &result);
    Result<void> scan_read(uint64_t start, uint64_t end, Mapping mapping, ScanResult &result);

    base::UniqueFd fd_;
    bool ioctl_works_ = true;
    bool knows_guards_ = true;
    uint64_t zero_pfn_ = 0; ///< 0: not asked yet or not to be known
    bool zero_pfn_known_ = false;
};

} // namespace pages
