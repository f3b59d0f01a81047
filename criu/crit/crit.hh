// The image inspector, `crit`: decode, encode, info, show, x. Its command line and its output are those of the python
// crit, so that scripts go on working; its errors are one line.
#pragma once

#include <span>
#include <string_view>

namespace crit {

/// Where a command reads and writes when no file is named. Descriptors stay the caller's.
struct Streams {
    int in = 0, out = 1, err = 2;
};

/// Runs a command. `args` is what follows the program's name. Returns the exit status: 0; 1 for a failure; 2 for a
/// wrong command line.
int run_crit(std::span<const std::string_view> args, Streams streams = {});

/// For main(): `args` is what follows `crit` (as the program's name, or as the first argument of criu).
int crit_main(std::span<char *> args);

} // namespace crit
