// Reading whole files and links, with the errors that matter told apart.
#pragma once

#include "base/result.hh"
#include "base/unique_fd.hh"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace kernel {

using base::Result;

/// The whole content of an open file from its current offset into `out`, whose capacity is reused. Kernel files may not
/// have a size, so it reads until the end. Not for pipes or sockets.
Result<void> read_all(int fd, std::string &out);

/// The whole content of `name`, relative to `dirfd` (AT_FDCWD: the working directory).
/// Errors: System(errno of open or read) naming the file; ESRCH becomes Died.
Result<std::string> read_file(int dirfd, const char *name);
Result<void> read_file(int dirfd, const char *name, std::string &out);

/// The target of a symbolic link, of any length.
Result<std::string> read_link(int dirfd, const char *name);

/// open(2) with O_CLOEXEC added.
Result<base::UniqueFd> open_at(int dirfd, const char *name, int flags, unsigned mode = 0);

/// All of it, at `offset` of a regular file. Errors: System.
Result<void> write_at(int fd, std::span<const std::byte> bytes, uint64_t offset);

/// Writes `text` with one write(2), as files under /proc and /sys want it.
Result<void> write_file(int dirfd, const char *name, std::string_view text);

} // namespace kernel
