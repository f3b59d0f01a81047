// Becoming a server, and telling whoever has started us that we are one: --daemon, --status-fd, --pidfile.
#pragma once

#include "base/ids.hh"
#include "base/result.hh"

#include <optional>
#include <string>

namespace kernel {

using base::Result;

/// A zero byte, and the descriptor is closed. Errors: System.
Result<void> say_ready(std::optional<int> status_fd);
/// `path`: relative to `dirfd` (AT_FDCWD: the working directory); nothing happens for an empty one.
/// Errors: System, naming the file.
Result<void> write_pidfile(int dirfd, const std::string &path, base::Pid pid);

/// With `daemon` in a process of its own, true; false in the one that has started it, once the pid file is there.
/// Without, true.
Result<bool> go_to_background(bool daemon, const std::string &pidfile);

} // namespace kernel
