// Whose memory limit pays for the page cache of the images.
#pragma once

#include "base/ids.hh"

namespace dump {

/// Whether the task may write its own memory into the images: pages of a file are charged to the memory cgroup of the
/// one who writes them first, and a container must not be pushed over its limit by its own checkpoint.
bool may_write_itself(base::Pid pid);

} // namespace dump
