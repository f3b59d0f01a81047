#include "criu/image/byte_source.hh"

#include <algorithm>

namespace image {
namespace {

constexpr size_t kWindow = 64 << 10;

bool inside(uint64_t offset, size_t length, uint64_t size) {
    return offset <= size && length <= size - offset;
}

} // namespace

base::Result<void> MemorySource::read(uint64_t offset, std::span<std::byte> out) {
    if (!inside(offset, out.size(), bytes_.size()))
        return base::bad_image("truncated");
    std::copy_n(bytes_.begin() + static_cast<ptrdiff_t>(offset), out.size(), out.begin());
    return {};
}

base::Result<void> FileSource::read(uint64_t offset, std::span<std::byte> out) {
    if (!inside(offset, out.size(), size_))
        return base::bad_image("truncated");
    if (out.size() > kWindow)
        return read_file(offset, out);
    if (offset < window_offset_ || !inside(offset - window_offset_, out.size(), window_.size())) {
        window_.resize(std::min<uint64_t>(kWindow, size_ - offset));
        window_offset_ = offset;
        if (auto filled = read_file(offset, window_); !filled) {
            window_.clear();
            return filled;
        }
    }
    std::copy_n(window_.begin() + static_cast<ptrdiff_t>(offset - window_offset_), out.size(), out.begin());
    return {};
}

base::Result<void> FileSource::read_file(uint64_t offset, std::span<std::byte> out) {
    while (!out.empty()) {
        ssize_t n = pread(file_.get(), out.data(), out.size(), static_cast<off_t>(offset));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return base::fail_sys("read");
        if (n == 0) // somebody shortened the file since fstat
            return base::bad_image("truncated");
        offset += static_cast<uint64_t>(n);
        out = out.subspan(static_cast<size_t>(n));
    }
    return {};
}

} // namespace image
