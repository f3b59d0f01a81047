// Where the bytes of an image come from: a file, or memory (crit reading a pipe, tests, fuzzing). Readers address them
// by offset and are told the whole size first, so that no length found in an image is believed beyond it.
#pragma once

#include "base/result.hh"
#include "base/unique_fd.hh"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace image {

class ByteSource {
public:
    ByteSource() = default;
    virtual ~ByteSource() = default;
    ByteSource(const ByteSource &) = delete;
    ByteSource &operator=(const ByteSource &) = delete;

    virtual uint64_t size() const = 0;
    /// Fills `out` from `offset` on. Errors: BadImage if the bytes do not exist; System if they cannot be read.
    virtual base::Result<void> read(uint64_t offset, std::span<std::byte> out) = 0;
};

/// Bytes of the caller, who keeps them alive.
class MemorySource final : public ByteSource {
public:
    explicit MemorySource(std::span<const std::byte> bytes) : bytes_(bytes) {}
    uint64_t size() const override { return bytes_.size(); }
    base::Result<void> read(uint64_t offset, std::span<std::byte> out) override;

private:
    std::span<const std::byte> bytes_;
};

/// A regular file, read through a window: most images are smaller than it and cost one read(2).
class FileSource final : public ByteSource {
public:
    /// Owns `file`; `size` is what fstat said.
    FileSource(base::UniqueFd file, uint64_t size) : file_(std::move(file)), size_(size) {}
    uint64_t size() const override { return size_; }
    base::Result<void> read(uint64_t offset, std::span<std::byte> out) override;
    /// Gives the file away; nothing can be read from here on.
    base::UniqueFd take_file() { return std::move(file_); }

private:
    base::Result<void> read_file(uint64_t offset, std::span<std::byte> out);

    base::UniqueFd file_;
    uint64_t size_;
    uint64_t window_offset_ = 0;
    std::vector<std::byte> window_;
};

} // namespace image
