// Seccomp filters of the tree.
#pragma once

#include "criu/image/image_writer.hh"
#include "criu/tree/facts.hh"

namespace dump {

using base::Result;

/// Reads the filter chains of all threads, writes seccomp.img if there are any, and notes in each thread's facts which
/// filter is its newest. From here on filters are suspended in these threads, until they are detached: the agent may
/// call what they forbid. Needs CAP_SYS_ADMIN if there are filters.
Result<void> dump_seccomp_filters(image::ImageDirWriter &images, std::vector<tree::TaskFacts> &tasks);

} // namespace dump
