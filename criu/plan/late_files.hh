// Files that are opened when all processes and threads exist: by the agent of the first task that holds one; the others
// fetch them from there.
#pragma once

#include "criu/plan/checkpoint.hh"
#include "criu/plan/ops.hh"

namespace plan {

/// Files the operations of the stages LateOpen and LateFetch. `proc_fd` is a directory, /proc, closed in the end.
Result<void> plan_late_files(ThreadPlan &plan, const Checkpoint &checkpoint, const TaskImage &task, int proc_fd);

} // namespace plan
