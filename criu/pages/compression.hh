#pragma once

#include "criu/image/codec.hh"

#include <cstdint>

namespace pages {

using image::Codec;

/// How a dump compresses the pages that it writes.
struct Compression {
    enum class When : uint8_t { Never, Always, IfFaster } when = When::Never;
    Codec codec = Codec::Lz4;
    int level = 1;        ///< of zstd
    int acceleration = 1; ///< of LZ4
    /// Of pages that are compressed together: larger ones are a little smaller and a little slower, and all of one is
    /// unpacked for a page that is wanted at once.
    uint64_t block_bytes = 64u << 10;

    bool is_on() const { return when != When::Never; }
};

} // namespace pages
