// Looks at a whole checkpoint: `crit x DIR ps|fds|mems|rss`.
#pragma once

#include "base/result.hh"
#include "criu/image/image_dir.hh"

#include <string>

namespace crit {

/// The process tree: pid, process group, session, name.
base::Result<std::string> explore_ps(const image::ImageDir &dir);
/// Open files, working directory and root of each task.
base::Result<std::string> explore_fds(const image::ImageDir &dir);
/// Mappings of each task.
base::Result<std::string> explore_mems(const image::ImageDir &dir);
/// Saved pages of each task, beside the mappings that they belong to.
base::Result<std::string> explore_rss(const image::ImageDir &dir);

} // namespace crit
