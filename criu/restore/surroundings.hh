// What a restore finds around itself: our own mappings, the kernel's vdso, pids in use, files on disk.
#pragma once

#include "criu/plan/address_space.hh"
#include "criu/plan/topology.hh"

namespace restore {

using base::Result;

/// Our own mappings, which tasks inherit and leave behind.
struct OwnMappings {
    std::vector<plan::Range> all;
    std::vector<plan::Range> special; ///< vvar and vdso, ascending
    plan::Range heap{};
};
Result<OwnMappings> own_mappings();

/// Whether the tasks' vdso can be replaced by this kernel's in place: same sizes, same functions at the same offsets.
/// True when no task has a vdso.
Result<bool> vdso_matches(const plan::Checkpoint &checkpoint, const std::vector<plan::AddressSpace> &spaces,
                          const std::vector<plan::Range> &special);

/// Errors: Busy, naming the pid and the process that has it.
Result<void> check_pids(const plan::Checkpoint &checkpoint, const plan::Topology &topology);

/// Errors: Unsupported where this CPU lacks what a thread uses.
Result<void> check_cpu(const plan::Checkpoint &checkpoint);

/// Puts the decoded checkpoint into huge pages where it is large: every fork copies the page tables of it, and the
/// child takes them down again, which for a thousand tasks is a fifth of the restore. A hint; nothing depends on it.
void prepare_heap_for_forks();

} // namespace restore
