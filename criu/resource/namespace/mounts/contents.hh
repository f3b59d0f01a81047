// What is in the file systems of a mount namespace that live in memory only.
#pragma once

#include "criu/resource/namespace/namespace.hh"
#include "mnt.pb.h"

#include <set>
#include <vector>

namespace resource::mounts {

/// Writes an archive of each file system whose contents are ours to save, and of each file that was deleted while it
/// was mounted; makes sure that others are empty. On a thread that is inside of the mount namespace and does nothing
/// else. `saved`: devices of file systems that are in the images already. Errors: name the mount.
Result<void> dump_contents(NamespaceDumpContext &context, const std::vector<img::mnt_entry> &entries,
                           std::set<uint32_t> &saved);

} // namespace resource::mounts
