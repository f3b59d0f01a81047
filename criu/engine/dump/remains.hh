// What a dump that was killed has left in a task that has long recovered from it.
//
// Most leave nothing but the boot code in its hidden place. There are two rarer things. A signal may have come while a
// thread was on its way back, so that its handler returns into the boot code, which the next dump removes, and no
// restore brings. And the agent's memory stays where its last user was counted twice, or was forked meanwhile.
#pragma once

#include "criu/tree/facts.hh"

namespace dump {

using base::Result;

/// Takes abandoned agents, and the descriptors that they hold, out of what is known of the task, and notes them.
Result<void> set_remains_apart(tree::TaskFacts &task);

/// Signal handlers that would return into the boot code return to where that would have led.
Result<void> straighten_handlers(const std::vector<tree::TaskFacts> &tasks);

} // namespace dump
