// File locks: flock(2), POSIX ranges, locks of open file descriptions, leases (--file-locks).
//
// The kernel lists them in fdinfo, for the descriptor through which they were set. POSIX locks belong to a descriptor
// table, all others to the open description. Waiters are no state: their calls begin again.
#pragma once

#include "criu/resource/file/file.hh"
#include "file-lock.pb.h"

namespace resource {

/// Writes the locks of one descriptor. `first`: the description is seen for the first time; else only POSIX locks are
/// looked at. Errors: Unsupported without --file-locks, naming the option.
Result<void> dump_locks(FileDumpContext &context, const std::string &fdinfo, Pid holder, int number, bool first);

/// Whether a lease was taken through this description. Opening its file once more would break it.
Result<bool> holds_lease(const std::string &fdinfo);

/// Sets one lock on descriptor entry.fd of this task. Errors: Busy, naming who holds it now where that can be known.
Result<void> restore_lock(const img::file_lock_entry &entry);

} // namespace resource
