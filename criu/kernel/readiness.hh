// Telling whoever has started us that we are there: --status-fd, --pidfile.
#pragma once

#include "base/ids.hh"
#include "base/result.hh"

#include <optional>
#include <string>

namespace kernel {

using base::Result;

/// A zero byte, and the descriptor is closed. Errors: System.
Result<void> say_ready(std::optional<int> status_fd);
/// Nothing for an empty path. Errors: System, naming the file.
Result<void> write_pidfile(const std::string &path, base::Pid pid);

} // namespace kernel
