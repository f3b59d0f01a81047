// The way from argv to an exit code. What a command does is passed in by main(), so that this folder needs to know
// the engines' names only there.
#pragma once

#include "base/log.hh"
#include "base/result.hh"
#include "criu/cli/options.hh"

#include <span>
#include <string>

namespace cli {

/// What stands behind the commands; a null pointer refuses the command as not built in.
struct Engines {
    /// Exit code of a dump: 0, or the status of a failing post-dump script.
    base::Result<int> (*dump)(const Options &, base::Log &) = nullptr;
    base::Result<int> (*restore)(const Options &, base::Log &) = nullptr;
    /// check --tree PID
    base::Result<int> (*check_tree)(const Options &, base::Log &) = nullptr;
    /// Arguments without the program's name.
    int (*crit)(std::span<const std::string> args) = nullptr;
};

/// Runs the program. A program called `crit` is `criu crit`.
int program(int argc, char **argv, const Engines &engines);

} // namespace cli
