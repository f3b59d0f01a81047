// `criu dump`.
#pragma once

#include "base/log.hh"
#include "base/result.hh"
#include "criu/cli/options.hh"

namespace dump {

/// Checkpoints the tree of options.tree into options.images_dir_fd. The tasks are dead afterwards, or go on, or stay
/// stopped, as the options say; on any failure they go on as if nothing had happened and no image is left behind.
/// Returns the exit code: 0, or the status of a failing post-dump script.
base::Result<int> run(const cli::Options &options, base::Log &log);

} // namespace dump
