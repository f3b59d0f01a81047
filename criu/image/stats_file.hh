// stats-dump and stats-restore: service images in the work directory, not part of a checkpoint.
#pragma once

#include "base/result.hh"

namespace img {
class stats_entry;
}

namespace image {

/// Replaces the file. Errors: System.
base::Result<void> write_statistics_file(int dirfd, const char *name, const img::stats_entry &entry);

} // namespace image
