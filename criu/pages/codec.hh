// Compressing single blocks of pages. Pure: bytes in, bytes out; by liblz4 and libzstd.
#pragma once

#include "base/result.hh"
#include "criu/pages/compression.hh"

#include <cstddef>
#include <memory>
#include <span>

namespace pages {

using base::Result;

bool is_zero(std::span<const std::byte> bytes);

/// Compresses many blocks, one after the other; each thread has its own.
class Packer {
public:
    explicit Packer(const Compression &how);
    Packer(Packer &&) noexcept;
    ~Packer();

    /// Room that pack() needs for a block.
    size_t room() const { return static_cast<size_t>(how_.block_bytes); }
    /// Compresses a block to the beginning of `to`. Returns its size there: 0 for zeroes, that of the block for bytes
    /// that are not worth it, which are then copied.
    size_t pack(std::span<const std::byte> block, std::span<std::byte> to);

private:
    struct State;
    Compression how_;
    std::unique_ptr<State> state_;
};

/// The contents of a block, `packed` as the image has it; fills all of `to`. Errors: BadImage.
Result<void> unpack(Codec codec, std::span<const std::byte> packed, std::span<std::byte> to);

} // namespace pages
