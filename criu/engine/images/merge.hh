// criu merge: a directory of images and those that it builds on become one that builds on none.
#pragma once

#include "base/log.hh"
#include "criu/engine/request.hh"

namespace images {

using base::Result;

/// Images that say nothing of pages become links to the same files where that is possible. `into` is a checkpoint when
/// its inventory is there, which comes last; on failure nothing stays in it.
/// Errors: Usage (not empty), BadImage, System.
Result<void> merge(const engine::MergeRequest &request, base::Log &log);

} // namespace images
