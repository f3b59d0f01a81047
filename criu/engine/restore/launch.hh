// The end of our own program in a task: everything that needs libc is done, the agent takes over.
#pragma once

#include "criu/engine/restore/context.hh"

namespace restore {

/// Puts the files in place, compiles the plan, maps the agent and jumps into it. Returns only on failure.
Result<void> launch(RestoreContext &context, const plan::Node &node);

/// Maps the agent's code into this process.
Result<void> map_agent(const plan::Arena &arena);

} // namespace restore
