// Files of a restore: opened once by the root task, put to their numbers by each task.
#pragma once

#include "criu/engine/restore/context.hh"

namespace restore {

/// Makes room for descriptors and opens all files that are needed, each once, above all numbers that tasks use.
/// In the root task, before it forks. Errors name the file.
/// `masters`: of terminals, those that are open already.
Result<void> open_files(RestoreContext &context, resource::Masters masters);

/// What a new session needs before it has members: its controlling terminal.
Result<void> lead_session(RestoreContext &context, const plan::Node &node);

/// Puts the files of a table to their numbers, and sets what depends on the other tasks. All tasks exist.
/// `table_id`: of the task, or of a thread that has its own. `placeholder` is a descriptor that sits where late files
/// will come.
Result<void> place_files(RestoreContext &context, const plan::Node &node, uint32_t table_id, int placeholder);

/// The locks that this task has set. After close_foreign(): a POSIX lock ends when its process closes any descriptor of
/// the file.
Result<void> restore_locks(const RestoreContext &context, const plan::TaskImage &task);

/// Lets files go that were held back until everything is restored. By the coordinator.
Result<void> release_files(const RestoreContext &context);

/// Working directory, root, umask.
Result<void> restore_directories(RestoreContext &context, const plan::TaskImage &task);

/// Closes everything below keep_base() that is not in the table.
void close_foreign(const RestoreContext &context, uint32_t table_id);

} // namespace restore
