// The last resort for a watched inode that no handle opens (overlayfs, FUSE): looking for its number.
#pragma once

#include "criu/resource/file/options.hh"
#include "criu/resource/file/watch/watch_target.hh"

namespace resource {

/// A path to the inode; empty if it was not found where programs usually watch, nor where the user said to look.
std::string search_watched(const FileOptions &options, const Mounts &mounts, const WatchedInode &watched);

} // namespace resource
