// Reading a socket's receive queue without taking anything out: SO_PEEK_OFF lets one MSG_PEEK after the other go on
// where the last one ended. But the offset is the socket's, and would stay if we were killed: a process that shares our
// descriptors waits for that, and puts it back.
#pragma once

#include "base/result.hh"
#include "base/unique_fd.hh"

#include <functional>
#include <sys/types.h>

namespace resource {

class PeekGuard {
public:
    PeekGuard() = default;
    PeekGuard(const PeekGuard &) = delete;
    PeekGuard &operator=(const PeekGuard &) = delete;
    ~PeekGuard();

    /// Runs `body` while peeks of the socket begin at `first` and go on from there; with kNoOffset each of them begins
    /// at the first byte. Not to be nested.
    base::Result<void> walk(int fd, const std::function<base::Result<void>()> &body, int first = 0);
    static constexpr int kNoOffset = -1;

private:
    struct Shared;
    base::Result<void> start();

    Shared *shared_ = nullptr;
    pid_t guard_ = -1;
};

/// Moves on to another place of the queue, within walk().
base::Result<void> set_peek_offset(int fd, int offset);

} // namespace resource
