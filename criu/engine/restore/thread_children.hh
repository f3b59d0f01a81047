// Children that a thread other than the leader has forked: plan/forker.hh.
#pragma once

#include "base/result.hh"
#include "criu/plan/layout.hh"

#include <functional>

namespace restore {

using base::Result;

/// Makes the thread `tid` of this process, runs `fork` in it, and has it wait in the agent, whose code must be mapped.
/// Children of `fork` return from it in a process of their own, on a stack of their own.
Result<void> fork_in_thread(const plan::Arena &arena, uint32_t tid, size_t place,
                            const std::function<Result<void>()> &fork);

} // namespace restore
