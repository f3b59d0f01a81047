// The command `check`: can this kernel do what dump and restore need?
#pragma once

#include "base/log.hh"
#include "base/result.hh"
#include "criu/cli/options.hh"

namespace check {

/// Checks everything asked for, or single features; prints the findings on standard output in the words that scripts
/// look for, details in the log. Exit code 0, or 1 if something is missing.
base::Result<int> run(const cli::Options &, base::Log &);

} // namespace check
