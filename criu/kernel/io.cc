#include "criu/kernel/io.hh"

#include <algorithm>
#include <climits>
#include <fcntl.h>
#include <unistd.h>

namespace kernel {

namespace {

constexpr size_t kFirstRead = 4096;
constexpr size_t kLargestRead = 4u << 20;

/// Appends one read(2) of at most `room` bytes; returns what read returned.
ssize_t append_read(int fd, std::string &out, size_t room) {
    ssize_t got = 0;
    size_t had = out.size();
    // The new bytes are written by the kernel; zeroing them first would double the cost of a large smaps.
    out.resize_and_overwrite(had + room, [&](char *data, size_t) {
        do
            got = ::read(fd, data + had, room);
        while (got < 0 && errno == EINTR);
        return had + static_cast<size_t>(got > 0 ? got : 0);
    });
    return got;
}

} // namespace

Result<void> read_all(int fd, std::string &out) {
    out.clear();
    for (size_t room = std::max(kFirstRead, out.capacity());; room = std::min(out.size() + kFirstRead, kLargestRead)) {
        ssize_t got = append_read(fd, out, room);
        if (got < 0)
            return base::fail_sys("read");
        if (got == 0)
            return {};
    }
}

Result<base::UniqueFd> open_at(int dirfd, const char *name, int flags, unsigned mode) {
    base::UniqueFd fd(::openat(dirfd, name, flags | O_CLOEXEC, mode));
    if (!fd)
        return base::fail_sys(std::string("open ") + name);
    return fd;
}

Result<void> read_file(int dirfd, const char *name, std::string &out) {
    base::UniqueFd fd = TRY(open_at(dirfd, name, O_RDONLY));
    TRY_CTX(read_all(fd.get(), out), name);
    return {};
}

Result<std::string> read_file(int dirfd, const char *name) {
    std::string out;
    TRY(read_file(dirfd, name, out));
    return out;
}

Result<std::string> read_link(int dirfd, const char *name) {
    for (size_t size = 256;; size *= 2) {
        std::string out;
        ssize_t got = -1;
        out.resize_and_overwrite(size, [&](char *data, size_t room) {
            got = ::readlinkat(dirfd, name, data, room);
            return static_cast<size_t>(got > 0 ? got : 0);
        });
        if (got < 0)
            return base::fail_sys(std::string("readlink ") + name);
        if (static_cast<size_t>(got) < size)
            return out;
    }
}

Result<void> write_at(int fd, std::span<const std::byte> bytes, uint64_t offset) {
    while (!bytes.empty()) {
        const ssize_t n = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return base::fail_sys(n < 0 ? errno : EIO, "write memory to the image");
        bytes = bytes.subspan(static_cast<size_t>(n));
        offset += static_cast<uint64_t>(n);
    }
    return {};
}

Result<void> write_file(int dirfd, const char *name, std::string_view text) {
    base::UniqueFd fd = TRY(open_at(dirfd, name, O_WRONLY));
    ssize_t put = ::write(fd.get(), text.data(), text.size());
    if (put < 0)
        return base::fail_sys(std::string("write ") + name);
    if (static_cast<size_t>(put) != text.size())
        return base::fail_sys(EIO, std::string("write ") + name);
    return {};
}

} // namespace kernel
