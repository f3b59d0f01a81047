// Executes a plan of mounts, in a mount namespace that nobody else sees.
#pragma once

#include "base/unique_fd.hh"
#include "criu/kernel/outside.hh"
#include "criu/resource/namespace/mounts/plan.hh"
#include "criu/resource/terminals.hh"

#include <functional>

namespace resource::mounts {

/// Fills a file system that was mounted a moment ago; `directory` is its root.
using FillFileSystem = std::function<Result<void>(const img::mnt_entry &entry, int directory)>;

/// Makes all mounts, puts them together and moves the calling process to their root. Returns descriptors of the further
/// namespaces of the plan, in its order. The caller is alone in its mount
/// namespace, a copy of the tool's, of which nothing is left afterwards: on failure it has to end.
/// `masters` gets those of the terminals that are mounts. Errors: each names the mount.
Result<std::vector<base::UniqueFd>> build_mounts(const kernel::Outside &outside, const MountPlan &plan,
                                                 const std::vector<img::mnt_entry> &entries, const FillFileSystem &fill,
                                                 Masters &masters);

} // namespace resource::mounts
