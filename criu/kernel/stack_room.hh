// Limits on the stack (ulimit -s) of as little as a program starts with at all: ours needs more.
#pragma once

#include <functional>

namespace kernel {

/// Runs `body` with room on the stack, on this thread: on a stack of our own where the limit leaves less. Threads that
/// are made meanwhile have room as well.
int with_stack_room(const std::function<int()> &body);

} // namespace kernel
