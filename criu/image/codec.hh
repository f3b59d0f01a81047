#pragma once

#include <cstdint>

namespace image {

/// How blocks of pages are compressed; numbers of the image (pagemap.proto).
enum class Codec : uint32_t { Lz4 = 0, Zstd = 1 };

/// More is not in any honest block; and what is unpacked for one page is no more than this.
inline constexpr uint64_t kMostBlockBytes = 4u << 20;

} // namespace image
