// Executes a plan of mounts, in a mount namespace that nobody else sees.
#pragma once

#include "base/unique_fd.hh"
#include "criu/kernel/outside.hh"
#include "criu/resource/namespace/mounts/later.hh"
#include "criu/resource/namespace/mounts/plan.hh"
#include "criu/resource/terminals.hh"

#include <functional>

namespace resource::mounts {

/// Contents from the images.
struct Fillers {
    /// Fills a file system that was mounted a moment ago; `directory` is its root.
    std::function<Result<void>(const img::mnt_entry &entry, int directory)> file_system;
    /// Makes what a mount shows although its name is gone: NAME in `directory`. `is_directory`: where the image does
    /// not say what it was.
    std::function<Result<void>(const img::mnt_entry &entry, int directory, const std::string &name, bool is_directory)>
        deleted;
};

struct BuiltMounts {
    std::vector<base::UniqueFd> below; ///< the further namespaces of the plan, in its order
    std::vector<LaterMount> later;
};

/// Makes all mounts, puts them together and moves the calling process to their root. The caller is alone in its mount
/// namespace, a copy of the tool's, of which nothing is left afterwards: on failure it has to end.
/// `masters` gets those of the terminals that are mounts. Errors: each names the mount.
Result<BuiltMounts> build_mounts(const kernel::Outside &outside, const MountPlan &plan,
                                 const std::vector<img::mnt_entry> &entries, const Fillers &fill, Masters &masters);

} // namespace resource::mounts
