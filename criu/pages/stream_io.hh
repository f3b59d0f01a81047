// Pipes and sockets that streams of images go over. Calls wait for the other end for as long as it wants, and end with
// System(EINTR) when the tool is told to stop meanwhile.
#pragma once

#include "base/result.hh"
#include "criu/pages/channel.hh"

#include <cstddef>
#include <memory>
#include <span>

namespace pages::stream {

using base::Result;

/// What a stream of images goes over.
class Line {
public:
    Line() = default;
    virtual ~Line() = default;
    Line(const Line &) = delete;
    Line &operator=(const Line &) = delete;
    /// All of both, one after the other. Errors: System(EPIPE) if the other end has gone.
    virtual Result<void> write(std::span<const std::byte> first, std::span<const std::byte> second) = 0;
    /// All of it. Errors: BadImage at the end of the stream.
    virtual Result<void> read(std::span<std::byte> into) = 0;
};

/// A pipe, socket or file, which stays the caller's.
std::unique_ptr<Line> fd_line(int fd);
/// A page connection, which has to live longer.
std::unique_ptr<Line> channel_line(Channel &channel);

/// All of both, one after the other. Errors: System(EPIPE) if the other end has gone.
Result<void> write_both(int fd, std::span<const std::byte> first, std::span<const std::byte> second = {});
/// At least a byte; 0 at the end.
Result<size_t> read_some(int fd, std::span<std::byte> into);
/// All of it. Errors: BadImage at the end of the stream.
Result<void> read_whole(int fd, std::span<std::byte> into);

} // namespace pages::stream
