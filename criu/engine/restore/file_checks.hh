// What can be told of the files of a checkpoint before any is opened.
#pragma once

#include "criu/plan/checkpoint.hh"

#include <map>
#include <set>

namespace restore {

using base::Result;

/// Ids of all files that some task has open, maps, runs or works in.
std::set<uint32_t> needed_files(const plan::Checkpoint &checkpoint);

/// Numbers at which a file can lie from the beginning: no other file has them in any table. The limit on open files
/// then has to hold most files only once.
std::map<uint32_t, int> homes_of(const plan::Checkpoint &checkpoint);

/// First descriptor number that no task uses.
int first_free_number(const plan::Checkpoint &checkpoint);

/// Whether the limit on open files, raised as far as we may, holds all files of the tree at once.
/// Errors: Unsupported, with both numbers.
Result<void> check_descriptors(const plan::Checkpoint &checkpoint);

/// Whether every file is of a kind that can be restored, and whether what has to be made again can be: deleted files
/// where they were, links of --link-remap still there. Looks at paths only; nobody who watches them sees it.
Result<void> check_files(const plan::Checkpoint &checkpoint);

} // namespace restore
