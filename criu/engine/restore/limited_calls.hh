// Threads that wait in a call with a time limit: see resource/task/time_left.cc.
#pragma once

#include "criu/plan/program.hh"
#include "criu/tree/pid_map.hh"

#include <span>

namespace restore {

using base::Result;

/// Lets the stopped threads of one task that have a limited call enter it and be interrupted there, each on its own
/// stack of the agent, and makes their registers those that follow from it. `agent`: where its code lies. Where the
/// kernel does not play along the registers stay, and the call will be made anew.
Result<void> enter_limited_calls(std::span<plan::ThreadFinish> threads, const tree::PidMap &pids, uint64_t agent);

} // namespace restore
