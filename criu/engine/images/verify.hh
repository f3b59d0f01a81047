// criu verify: whether images are whole, without restoring them.
#pragma once

#include "base/result.hh"

#include <string>

namespace images {

using base::Result;

/// Reads all of the memory, also that of earlier images it is built on, and what is compressed as far as unpacking it;
/// plans the restore unless it is a pre-dump. Returns a line that says what there is.
/// Errors: as a restore would have.
Result<std::string> verify(int images_dir_fd, bool shell_job);

} // namespace images
