// A checkpoint on its way through a pipe: the pages of memory go there while they are read, everything else is gathered
// in a directory in memory and follows in the end. See stream_format.hh and streamer.hh for the two kinds there are.
#pragma once

#include "base/result.hh"
#include "base/unique_fd.hh"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

namespace pages {

using base::Result;

class ImageStream {
public:
    ImageStream() = default;
    virtual ~ImageStream() = default;
    ImageStream(const ImageStream &) = delete;
    ImageStream &operator=(const ImageStream &) = delete;

    /// Bytes of a file at `offset`, which only grows within a file: what is left out is zeroes. Files may take turns.
    /// Not from two threads at once. Errors: System(EPIPE) if the other end has gone.
    virtual Result<void> write(const std::string &name, uint64_t offset, std::span<const std::byte> bytes) = 0;
    /// Nothing more of this file; it has `size` bytes.
    virtual Result<void> end_file(const std::string &name, uint64_t size) = 0;
    /// Whether end_file() was told of it.
    virtual bool has_file(const std::string &name) const = 0;
    /// That was all. Without it the other end has no checkpoint.
    virtual Result<void> finish() = 0;
};

/// A directory in memory that nobody else sees, and that goes with its last descriptor.
Result<base::UniqueFd> private_directory();

/// Sends what `directory` holds and the stream does not have yet, but for what may still change: connections of TCP,
/// whose last data is taken right before the tree ends, and the inventory.
Result<void> send_directory(ImageStream &stream, int directory);
/// Sends the rest, the inventory last, and finishes the stream.
Result<void> send_rest(ImageStream &stream, int directory);

} // namespace pages
