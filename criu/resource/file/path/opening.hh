// Opening what a path of the image leads to now.
#pragma once

#include "base/unique_fd.hh"

namespace resource {

/// open(2) that never waits: what was a file or a terminal at the checkpoint may be a FIFO now, or have a lease that
/// somebody else keeps. The description has `flags` when this returns. On failure nothing, and errno.
base::UniqueFd open_at_once(const char *path, int flags);

} // namespace resource
