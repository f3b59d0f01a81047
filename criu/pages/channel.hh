// A connection that pages go over: bytes in both directions, encrypted or not. Calls wait for the other end, and end
// with System(EINTR) when the tool is told to stop meanwhile.
#pragma once

#include "base/result.hh"
#include "base/unique_fd.hh"

#include <cstddef>
#include <memory>
#include <span>

namespace pages {

using base::Result;

class Channel {
public:
    Channel() = default;
    virtual ~Channel() = default;
    Channel(const Channel &) = delete;
    Channel &operator=(const Channel &) = delete;

    /// All of it. Errors: System(EPIPE, ECONNRESET) when the other end has gone.
    virtual Result<void> send(std::span<const std::byte> bytes) = 0;
    /// Whatever has come, at least a byte; 0 when the other end has closed its side.
    virtual Result<size_t> receive_some(std::span<std::byte> into) = 0;
    /// Says that nothing more will be sent.
    virtual Result<void> finish() = 0;
    /// The socket.
    virtual int fd() const = 0;
    /// Takes what comes to a file without a copy of ours; false if this connection cannot. `bytes`: all are moved,
    /// unless an error comes in between.
    virtual Result<bool> move_to_file(int, uint64_t, uint64_t) { return false; }

    /// All that is wanted. Errors: System(ECONNRESET) if the other end closes before.
    Result<void> receive(std::span<std::byte> into);
    /// As receive(), but false if the other end has closed before the first byte.
    Result<bool> receive_or_end(std::span<std::byte> into);
    template <class T> Result<T> receive_value() {
        T value{};
        TRY(receive(std::as_writable_bytes(std::span(&value, 1))));
        return value;
    }
    template <class T> Result<void> send_value(const T &value) { return send(std::as_bytes(std::span(&value, 1))); }
};

/// Over a connected stream socket.
std::unique_ptr<Channel> plain_channel(base::UniqueFd socket);

/// Waits until the descriptor is ready. `timeout_ms`: -1 for ever.
/// Errors: System(EINTR) when the tool is told to stop, System(ETIMEDOUT).
Result<void> wait_ready(int fd, short events, int timeout_ms = -1);

} // namespace pages
