// Giving back the room of saved pages that nobody needs any more, by holes in the pages files: their sizes stay, and so
// does everything that refers to them by offset.
#pragma once

#include "criu/pages/chain.hh"

namespace pages {

/// What the newest directory holds itself is dropped from all those that it builds on. These then serve nobody but it.
/// Returns the number of pages dropped. Errors: System (EOPNOTSUPP: the file system knows no holes); BadImage.
Result<uint64_t> drop_superseded(const Chain &chain);

/// `criu dedup`: as above. Errors also: BadImage where the images build on no others.
Result<uint64_t> dedup(int images_dir_fd);

/// Drops all pages that a restore of the newest directory has read: it cannot be restored again.
Result<uint64_t> drop_restored(const Chain &chain);

} // namespace pages
