// Stopping the tree of a request.
#pragma once

#include "compel/freezer.hh"
#include "criu/engine/request.hh"
#include "criu/kernel/freezer_group.hh"
#include "criu/resource/task/timed_polls.hh"

namespace dump {

using base::Result;

/// `guarded`: somebody sees to the tasks if we are killed.
/// `group`: holds the freezer of the request, if there is one; it has to outlive the tree.
Result<compel::FrozenTree> stop_tree(const engine::DumpRequest &request, bool guarded, resource::TimedPolls &polls,
                                     std::optional<kernel::FreezerGroup> &group);

} // namespace dump
