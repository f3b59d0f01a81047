// Which pages of a process hold something that a dump must save.
#pragma once

#include "base/ids.hh"
#include "base/result.hh"
#include "base/unique_fd.hh"
#include "criu/pages/extents.hh"

#include <vector>

namespace pages {

using base::Pid;
using base::Result;

enum class Mapping { Anonymous, PrivateFile };

/// Whether the kernel has been told to note writes, and how.
enum class Notes {
    None,
    WriteProtection, ///< userfaultfd in asynchronous mode (criu/engine/tracking)
    SoftDirty,
};

struct ScanResult {
    std::vector<Extent> data;   ///< to be saved
    std::vector<Extent> clean;  ///< of these: not written since the notes were last taken, by what the kernel says
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

    /// From now on scan() tells what is clean.
    void read_notes(Notes notes) { notes_ = notes; }
    /// Whether writes to the mapping at `address` are noted by write protection, whoever has asked for it.
    bool is_write_protected(uint64_t address) const;
    /// The pages in [start, end) that were written since they were last asked for here, in mappings that are
    /// write-protected; asked for and forgotten at once, so that a write afterwards is found by the next call. The tree
    /// may be running. Pages that were mapped for the first time since count as written.
    Result<std::vector<Extent>> take_written(uint64_t start, uint64_t end) const;

    /// The same, without forgetting.
    Result<std::vector<Extent>> written(uint64_t start, uint64_t end) const { return find_written(start, end, 0); }

private:
    Result<std::vector<Extent>> find_written(uint64_t start, uint64_t end, uint64_t flags) const;
    explicit PageScanner(base::UniqueFd fd) : fd_(std::move(fd)) {}
    Result<void> scan_ioctl(uint64_t start, uint64_t end, Mapping mapping, ScanResult &result);
    Result<void> scan_read(uint64_t start, uint64_t end, Mapping mapping, ScanResult &result);

    base::UniqueFd fd_;
    bool ioctl_works_ = true;
    bool knows_guards_ = true;
    Notes notes_ = Notes::None;
    uint64_t zero_pfn_ = 0; ///< 0: not asked yet or not to be known
    bool zero_pfn_known_ = false;
};

} // namespace pages
