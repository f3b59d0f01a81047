// Threads that come before the agent runs: plan/waiting_room.hh.
#pragma once

#include "criu/engine/restore/context.hh"

namespace restore {

/// Makes the early threads of a task, which stay. Each forks its children (`fork`, by its number), and waits in the
/// agent; one with descriptors of its own comes there only when files may be put to their numbers.
Result<void> make_early_threads(RestoreContext &context, const plan::Node &node,
                                const std::function<Result<void>(uint32_t thread)> &fork);

} // namespace restore
