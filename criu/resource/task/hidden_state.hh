// State of tasks that no call tells of, and that is looked for in the kernel's own memory, where there can be any:
// keyrings with keys in them, domains of Landlock, and the adjustments of semaphores that the end of a task makes
// (SEM_UNDO). Of these only the last can be made again.
#pragma once

#include "criu/kernel/memory/kernel_memory.hh"
#include "criu/resource/losses.hh"
#include "criu/tree/facts.hh"

#include <functional>
#include <vector>

namespace resource {

/// What a restore cannot make again.
struct HiddenFinding {
    base::Pid task;
    Loss loss;
    std::string what; ///< "thread 7 is confined by Landlock"
};

/// Gives the kernel's memory, opened at the first call: that takes 10 ms.
using OpenKernelMemory = std::function<Result<KernelMemory *>()>;

/// Of stopped tasks that the calling thread traces. What can be kept is noted in `tasks` (sem_undo).
/// Errors: where the kernel does not let us look, though there can be something.
Result<std::vector<HiddenFinding>> find_hidden_state(const OpenKernelMemory &open, std::vector<tree::TaskFacts> &tasks);

/// What to say where it cannot be looked for.
std::string cannot_look(const base::Error &why);
/// The same of Landlock alone, on a kernel with security modules that we do not know. Empty: nothing to say.
std::string cannot_see_landlock(const std::vector<tree::TaskFacts> &tasks);

/// Refuses what was found, or warns: --allow-loss. Not to be able to look is a warning.
Result<void> settle_hidden_state(const OpenKernelMemory &open, std::vector<tree::TaskFacts> &tasks,
                                 const AllowedLosses &allowed, base::Log &log);

} // namespace resource
