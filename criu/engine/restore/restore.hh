// `criu restore`.
#pragma once

#include "base/log.hh"
#include "base/result.hh"
#include "criu/cli/options.hh"

namespace restore {

/// Brings the tree in options.images_dir_fd back. On any failure nothing of it is left.
/// Returns the exit code: 0; without --restore-detached only when the root task has ended; with --exec-cmd not at all.
base::Result<int> run(const cli::Options &options, base::Log &log);

} // namespace restore
