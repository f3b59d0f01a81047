// Children that a thread other than the leader has forked: plan/forker.hh.
#pragma once

#include "base/result.hh"
#include "criu/plan/layout.hh"

#include <functional>
#include <span>

namespace restore {

using base::Result;

/// Makes a thread of this process (`tid`: all numbers that it has, as clone3 wants them), runs `fork` in it, and has it
/// wait in the agent, whose code must be mapped. Children of `fork` return from it in a process of their own, on a
/// stack of their own.
Result<void> fork_in_thread(const plan::Arena &arena, std::span<const int32_t> tid, size_t place,
                            const std::function<Result<void>()> &fork);

} // namespace restore
