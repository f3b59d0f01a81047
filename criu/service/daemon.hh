// `criu service`: accepts connections, and serves each in a process of its own.
#pragma once

#include "base/log.hh"
#include "criu/cli/options.hh"

namespace service {

/// Serves until SIGTERM, SIGINT or SIGQUIT comes. Exit code 0.
base::Result<int> serve(const cli::Options &options, base::Log &log);

} // namespace service
