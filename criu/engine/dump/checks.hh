// What can be refused before anything is touched.
#pragma once

#include "criu/tree/facts.hh"

namespace dump {

using base::Result;

/// Whether the id is that of a process whose tree can be stopped at all: no thread, no kernel thread, and criu itself
/// not in its tree. Nothing of one that is not there. Errors: Usage, Unsupported.
/// `may_hold_us`: a client of the service that wants itself dumped.
Result<void> check_target(base::Pid root, bool may_hold_us);

/// Sessions and process groups must be led from inside the tree, or by the shell that started it with --shell-job.
Result<void> check_sessions(const std::vector<tree::TaskFacts> &tasks, bool shell_job);

/// Descriptors of a thread's own must not be those of another process, too.
Result<void> check_threads(const tree::TaskFacts &task, const std::vector<tree::TaskFacts> &tasks);

/// Memory can be shared with a parent only.
Result<void> check_sharing(const tree::TaskFacts &task, const std::vector<tree::TaskFacts> &tasks);

} // namespace dump
