// Descriptors of threads that have left those of their process (unshare(CLONE_FILES)).
#pragma once

#include "criu/engine/dump/files.hh"

#include <set>

namespace dump {

/// Writes those of a task's threads that are not in `done`.
Result<void> dump_own_tables(FileTable &files, std::set<uint32_t> &done, const tree::TaskFacts &task);

} // namespace dump
