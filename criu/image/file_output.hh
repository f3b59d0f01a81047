// Making and filling image files.
#pragma once

#include "base/result.hh"
#include "base/unique_fd.hh"

#include <string>
#include <string_view>

namespace image {

/// What the inventory is called until all else is there.
inline constexpr const char *kUnpublishedInventory = "inventory.img.unfinished";

/// A new file for reading and writing. What has its name is removed first, a symbolic link too: never written through.
base::Result<base::UniqueFd> create_file(int dir, const std::string &name);

/// All of it, in as many calls as it takes.
base::Result<void> write_all(int fd, std::string_view text);

/// Waits until a file of `dir`, or the directory itself ("."), is on the disk.
base::Result<void> sync_file(int dir, const std::string &name);

} // namespace image
