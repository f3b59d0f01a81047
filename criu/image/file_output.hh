// Making and filling image files.
#pragma once

#include "base/result.hh"
#include "base/unique_fd.hh"

#include <string>
#include <string_view>

namespace image {

/// A new file for reading and writing. What has its name is removed first, a symbolic link too: never written through.
base::Result<base::UniqueFd> create_file(int dir, const std::string &name);

/// All of it, in as many calls as it takes.
base::Result<void> write_all(int fd, std::string_view text);

} // namespace image
