// One process of a restored tree, from its birth to the jump into the agent.
#pragma once

#include "criu/engine/restore/context.hh"

namespace restore {

/// Creates the root task. It does not return in the child. Errors: Busy when the pid is taken; System.
Result<void> spawn_root(RestoreContext &context);

/// How many processes, tasks and threads arrive at the stages.
struct Arrivals {
    uint32_t processes = 0; ///< tasks, zombies and helpers
    uint32_t tasks = 0;     ///< tasks that live on
    uint32_t threads = 0;
};
Arrivals count_arrivals(const RestoreContext &context);

} // namespace restore
