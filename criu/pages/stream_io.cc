#include "criu/pages/stream_io.hh"

#include "criu/kernel/interruption.hh"

#include <algorithm>
#include <poll.h>
#include <sys/uio.h>
#include <unistd.h>

namespace pages::stream {
namespace {

constexpr int kLookMs = 100; // how often we look whether we shall stop

Result<void> await(int fd, short events) {
    for (pollfd ready{fd, events, 0}; poll(&ready, 1, kLookMs) <= 0;)
        TRY(kernel::check_interrupted());
    return {};
}

std::unexpected<base::Error> too_early() {
    return base::fail(base::Error(base::ErrorKind::BadImage, "the stream of images ends too early")
                          .hint("its dump has failed or was killed, or the connection was cut"));
}

class FdLine final : public Line {
public:
    explicit FdLine(int fd) : fd_(fd) {}
    Result<void> write(std::span<const std::byte> first, std::span<const std::byte> second) override {
        return write_both(fd_, first, second);
    }
    Result<void> read(std::span<std::byte> into) override { return read_whole(fd_, into); }

private:
    int fd_;
};

class ChannelLine final : public Line {
public:
    explicit ChannelLine(Channel &channel) : channel_(channel) {}
    Result<void> write(std::span<const std::byte> first, std::span<const std::byte> second) override {
        TRY(channel_.send(first));
        return second.empty() ? Result<void>() : channel_.send(second);
    }
    Result<void> read(std::span<std::byte> into) override {
        if (into.empty())
            return {};
        return TRY(channel_.receive_or_end(into)) ? Result<void>() : too_early();
    }

private:
    Channel &channel_;
};

} // namespace

Result<void> write_both(int fd, std::span<const std::byte> first, std::span<const std::byte> second) {
    while (!first.empty() || !second.empty()) {
        TRY(await(fd, POLLOUT));
        // No more than a pipe holds: a longer write would block, and not end when we are told to stop.
        constexpr size_t kMost = 64u << 10;
        const auto begin = first.first(std::min(first.size(), kMost));
        const auto rest = second.first(std::min(second.size(), kMost - begin.size()));
        const iovec parts[] = {{const_cast<std::byte *>(begin.data()), begin.size()},
                               {const_cast<std::byte *>(rest.data()), rest.size()}};
        const ssize_t n = writev(fd, parts, 2);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n < 0)
            return base::fail_sys("the stream of images");
        const size_t of_first = std::min(first.size(), static_cast<size_t>(n));
        first = first.subspan(of_first);
        second = second.subspan(static_cast<size_t>(n) - of_first);
    }
    return {};
}

Result<size_t> read_some(int fd, std::span<std::byte> into) {
    for (;;) {
        TRY(await(fd, POLLIN));
        const ssize_t n = read(fd, into.data(), into.size());
        if (n >= 0)
            return static_cast<size_t>(n);
        if (errno != EINTR && errno != EAGAIN)
            return base::fail_sys("the stream of images");
    }
}

Result<void> read_whole(int fd, std::span<std::byte> into) {
    while (!into.empty()) {
        const size_t n = TRY(read_some(fd, into));
        if (n == 0)
            return too_early();
        into = into.subspan(n);
    }
    return {};
}

std::unique_ptr<Line> fd_line(int fd) {
    return std::make_unique<FdLine>(fd);
}

std::unique_ptr<Line> channel_line(Channel &channel) {
    return std::make_unique<ChannelLine>(channel);
}

} // namespace pages::stream
