// Overlays whose directories lie in the tree: options name them by paths of the tree. The restore makes such a mount
// when everything else is in its place, from inside of the tree's root, so that paths (and the symbolic links in them)
// lead to where they led before, and never to the caller's directories.
#pragma once

#include "base/ids.hh"
#include "base/result.hh"
#include "criu/resource/namespace/mounts/plan.hh"
#include "mnt.pb.h"

#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace resource::mounts {

/// The directories that an overlay is made of, as its options name them. Pure.
std::vector<std::string> overlay_directories(std::string_view options);

/// An overlay that is made again by its options, not a part of one and not the caller's. Pure.
bool is_overlay_of_tree(const img::mnt_entry &entry);

/// Puts them at the end of what a plan attaches, with their parts (also as the root of another namespace) and what lies
/// on them; those that others build on before these. Pure.
void put_overlays_last(MountPlan &plan, const std::vector<img::mnt_entry> &entries);

/// Whether the directories of one are found below the root of the tree. Errors: Unsupported.
base::Result<void> check_directories(int root, const img::mnt_entry &entry);
/// Whether the directories of all overlays in the table of a namespace are found there. `known`: devices of those that
/// were looked at, as the first mount of one is the one that is made again. Errors: Unsupported.
base::Result<void> check_overlays(base::Pid member, std::span<const img::mnt_entry> entries, std::set<uint32_t> &known);

} // namespace resource::mounts
