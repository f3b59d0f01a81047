// SEM_UNDO: what the end of a process adds to System V semaphores. No call tells of it: read in the kernel's memory.
//
// A restored process makes its adjustments anew. In an IPC namespace of the tree's own the semaphores have the values
// of the checkpoint by then, so each is changed and changed back. Those of the host were adjusted when the dump has
// ended the process: it takes, or gives, again, and a restore fails where somebody else has taken meanwhile.
#pragma once

#include "criu/kernel/memory/kernel_memory.hh"
#include "criu/plan/ops.hh"
#include "criu/tree/facts.hh"
#include "images_pb.hh"

namespace resource {

/// Whether the IPC namespace of a task has any semaphores.
bool has_semaphores(base::Pid member);

/// The list at an address of the kernel, of a task or thread in `member`'s IPC namespace; nothing of sets where all is
/// zero.
Result<std::vector<tree::SemaphoreUndo>> read_undo_list(const KernelMemory &memory, uint64_t list, base::Pid member);

void write_undo(const tree::TaskFacts &task, img::ext_task_core *ext);

/// `own`: the namespace is the tree's own.
Result<void> plan_undo(plan::ThreadPlan &plan, const img::ext_task_core &ext, bool own);

} // namespace resource
