// Having the kernel note writes to the memory of one process (userfaultfd, Linux 6.7).
//
// A mapping under write protection in asynchronous mode costs a page one fault at its first write, which the kernel
// resolves by itself: it takes the protection off, and a scan tells these pages from those that still have it. What has
// happened to a mapping that is not under our protection any more, or not yet, is not known: it was mapped, moved or
// grown since, its process has called execve(2) or is a child of the one we knew. All of its pages count as written.
#pragma once

#include "criu/pages/scan.hh"
#include "criu/tree/facts.hh"

namespace tracking {

using base::Result;

/// Sets a new descriptor up. Errors: System (EINVAL: a kernel before 6.7).
Result<void> set_up(int uffd);

/// What may be asked of one process.
struct Watch {
    /// Mappings that were under our protection since the notes were last taken.
    std::vector<pages::Extent> known;
    bool dead = false; ///< the descriptor belongs to an address space that is gone
};

/// Mappings of the task whose writes can be noted. None for a task some of whose pages are written past its page tables
/// (io_uring, AIO), that uses userfaultfd by itself, or that has so many mappings that more may not fit.
std::vector<pages::Extent> watchable(const tree::TaskFacts &task);

/// Asks for protection of all the mappings, and finds out which had ours. The task is stopped.
Watch watch(int uffd, const pages::PageScanner &scanner, const std::vector<pages::Extent> &mappings);

/// The mappings that are under our protection, without asking for more.
Watch look(int uffd, const pages::PageScanner &scanner, const std::vector<pages::Extent> &mappings);

} // namespace tracking
