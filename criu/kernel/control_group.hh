// Control groups of our own processes.
#pragma once

namespace kernel {

/// Moves the calling process to the root of every hierarchy, as far as it may: a group that is killed as a whole does
/// not take it along. For processes that guard something and use next to nothing. Safe after fork.
void leave_control_groups();

} // namespace kernel
