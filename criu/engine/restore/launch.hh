// The end of our own program in a task: everything that needs libc is done, the agent takes over.
#pragma once

#include "criu/engine/restore/context.hh"

namespace restore {

/// What the agent will find, and its plan.
struct Launch {
    plan::Surroundings around;
    plan::Program program;
    img::creds_entry outside;   ///< of the leader, as the root's user namespace sees them
    std::optional<int> user_fd; ///< a user namespace that it still has to go to
};

/// Compiles the plan: the last that opens files of our own. The next is to pass plan::kOpened.
Result<Launch> prepare_launch(RestoreContext &context, const plan::Node &node);

/// Puts the files in place, and maps the agent and its plan.
Result<AgentStart> finish_launch(RestoreContext &context, const plan::Node &node, const Launch &launch);

/// In an early thread, when files may be put to their numbers: the descriptors that it does not share with its process.
Result<void> place_own_table(RestoreContext &context, const plan::Node &node, uint32_t table);

/// Maps the agent's code into this address space, once.
Result<void> map_agent(RestoreContext &context);

} // namespace restore
