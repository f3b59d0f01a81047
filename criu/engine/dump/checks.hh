// What can be refused before anything is touched.
#pragma once

#include "criu/tree/facts.hh"

namespace dump {

using base::Result;

/// Sessions and process groups must be led from inside the tree, or by the shell that started it with --shell-job.
Result<void> check_sessions(const std::vector<tree::TaskFacts> &tasks, bool shell_job);

/// Every thread must share descriptors and working directory with its process.
Result<void> check_threads(const tree::TaskFacts &task);

/// Sharing between processes that a restore cannot make again.
Result<void> check_sharing(const tree::TaskFacts &task, const std::vector<tree::TaskFacts> &tasks);

/// --manage-cgroups=soft: all threads must be in the tool's own control groups, where a restore puts them anyway.
Result<void> check_cgroups(const tree::TaskFacts &task);

} // namespace dump
