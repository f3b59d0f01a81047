// Numbers of processes in pid namespaces that only tasks below the root live in.
#pragma once

#include "base/id_map.hh"
#include "criu/plan/checkpoint.hh"

namespace plan {

/// Reads and checks who is called how. Errors: BadImage for namespaces that are no tree, or whose tables and processes
/// contradict each other.
Result<tree::Numbers> read_numbers(const image::ImageDir &images, const std::vector<TaskImage> &tasks);

/// Rewrites what a task is about to tell the kernel of others: as its own namespace calls them, 0 for who cannot be
/// seen from there. Of files their owners and the tasks of pidfds, of the task itself the targets of its timers.
/// For the copy of the checkpoint that a process of a restore has when it has forked all others.
void number_as_inside(Checkpoint &checkpoint, size_t task);

/// Rewrites the users and groups of a task: as its user namespace calls them, which only tasks below the root live in.
/// Who has no name there is left alone: ~0. `files`: also the owners of files, which the task sets from inside.
void own_as_inside(Checkpoint &checkpoint, size_t task, const base::OwnerMaps &owners, bool files);

} // namespace plan
