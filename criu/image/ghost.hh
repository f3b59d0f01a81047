// A file that was deleted while open: its attributes, and its contents as pieces of the image file, which the caller
// copies from there (they may be gigabytes, and sparse ones have holes between the pieces).
#pragma once

#include "base/unique_fd.hh"
#include "ghost-file.pb.h"

#include <cstdint>
#include <vector>

namespace image {

struct GhostPiece {
    uint64_t offset = 0;       ///< in the deleted file
    uint64_t length = 0;       ///< bytes
    uint64_t image_offset = 0; ///< where they lie in the image
};

struct GhostImage {
    img::ghost_file_entry entry;
    std::vector<GhostPiece> pieces; ///< all inside the image
    base::UniqueFd file;            ///< the image, for reading
};

} // namespace image
