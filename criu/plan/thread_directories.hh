// Threads that have left the directories and the umask of their process (unshare(CLONE_FS)).
#pragma once

#include "criu/plan/checkpoint.hh"
#include "criu/plan/ops.hh"

namespace plan {

/// Files the operations of one thread of `task`: its file's descriptors in `directories` are those of
/// own_directories(). Works with the privileges of the restore, before the thread has credentials of its own.
void plan_thread_directories(ThreadPlan &plan, const TaskImage &task, const img::core_entry &core,
                             const std::map<uint32_t, int> &directories);
/// Files the leader's: it closes them when all threads are through.
void plan_closing_directories(ThreadPlan &leader, const std::map<uint32_t, int> &directories);

} // namespace plan
