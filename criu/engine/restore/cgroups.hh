// Putting the tree into its control groups.
#pragma once

#include "criu/engine/restore/context.hh"
#include "criu/resource/cgroup/cgroup.hh"

namespace restore {

/// The set of groups of the root task that is not the tool's own; 0: it stays in those of the restore.
uint32_t root_set(const plan::Checkpoint &checkpoint);

/// Moves what is not in the root's groups, when all processes and threads exist.
Result<void> place_in_groups(const RestoreContext &context, const resource::cgroup::Groups &groups);

} // namespace restore
