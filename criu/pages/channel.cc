#include "criu/pages/channel.hh"

#include "criu/kernel/interruption.hh"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace pages {
namespace {

constexpr int kLookForSignals = 200; // ms: they are blocked while tasks stand still

/// What a socket has to say goes through a pipe to a file: the kernel copies once instead of twice.
class PlainChannel final : public Channel {
public:
    explicit PlainChannel(base::UniqueFd socket) : socket_(std::move(socket)) {}

    Result<void> send(std::span<const std::byte> bytes) override {
        while (!bytes.empty()) {
            const ssize_t n = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
            if (n < 0 && errno != EAGAIN && errno != EINTR)
                return base::fail_sys("send to the other end of the page connection");
            if (n < 0)
                TRY(wait_ready(socket_.get(), POLLOUT));
            bytes = bytes.subspan(static_cast<size_t>(std::max<ssize_t>(n, 0)));
        }
        return {};
    }

    Result<size_t> receive_some(std::span<std::byte> into) override {
        for (;;) {
            const ssize_t n = recv(socket_.get(), into.data(), into.size(), MSG_DONTWAIT);
            if (n >= 0)
                return static_cast<size_t>(n);
            if (errno != EAGAIN && errno != EINTR)
                return base::fail_sys("receive from the other end of the page connection");
            TRY(wait_ready(socket_.get(), POLLIN));
        }
    }

    Result<void> finish() override {
        if (shutdown(socket_.get(), SHUT_WR) < 0 && errno != ENOTCONN)
            return base::fail_sys("close the page connection");
        return {};
    }

    int fd() const override { return socket_.get(); }

    Result<bool> move_to_file(int file, uint64_t offset, uint64_t bytes) override {
        if (!TRY(make_pipe()))
            return false;
        auto at = static_cast<off64_t>(offset);
        while (bytes) {
            const size_t here = TRY(fill_pipe(bytes));
            for (size_t left = here; left;) {
                const ssize_t n = splice(pipe_[0].get(), nullptr, file, &at, left, SPLICE_F_MOVE);
                if (n < 0 && errno == EINTR)
                    continue;
                if (n <= 0)
                    return base::fail_sys(n < 0 ? errno : EIO, "write pages");
                left -= static_cast<size_t>(n);
            }
            bytes -= here;
        }
        return true;
    }

private:
    Result<bool> make_pipe() {
        if (pipe_[0])
            return true;
        int ends[2];
        if (pipe2(ends, O_CLOEXEC) < 0)
            return base::fail_sys("pipe");
        pipe_[0].reset(ends[0]);
        pipe_[1].reset(ends[1]);
        constexpr int kRoom = 1 << 20; // as much as an ordinary user may have; less is slower and no error
        fcntl(ends[1], F_SETPIPE_SZ, kRoom);
        return true;
    }

    Result<size_t> fill_pipe(uint64_t bytes) {
        for (;;) {
            const ssize_t n = splice(socket_.get(), nullptr, pipe_[1].get(), nullptr,
                                     std::min<uint64_t>(bytes, 1u << 20), SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
            if (n > 0)
                return static_cast<size_t>(n);
            if (n == 0)
                return base::fail_sys(ECONNRESET, "the page connection ended in the middle of pages");
            if (errno != EAGAIN && errno != EINTR)
                return base::fail_sys("receive pages");
            TRY(wait_ready(socket_.get(), POLLIN));
        }
    }

    base::UniqueFd socket_;
    base::UniqueFd pipe_[2];
};

} // namespace

Result<void> wait_ready(int fd, short events, int timeout_ms) {
    for (int waited = 0;; waited += kLookForSignals) {
        TRY(kernel::check_interrupted());
        if (timeout_ms >= 0 && waited >= timeout_ms)
            return base::fail_sys(ETIMEDOUT, "the other end of the page connection");
        pollfd one{fd, events, 0};
        const int n = poll(&one, 1, kLookForSignals);
        if (n > 0)
            return {};
        if (n < 0 && errno != EINTR)
            return base::fail_sys("poll");
    }
}

Result<bool> Channel::receive_or_end(std::span<std::byte> into) {
    for (bool first = true; !into.empty(); first = false) {
        const size_t n = TRY(receive_some(into));
        if (n == 0 && first)
            return false;
        if (n == 0)
            return base::fail_sys(ECONNRESET, "the page connection ended in the middle of a message");
        into = into.subspan(n);
    }
    return true;
}

Result<void> Channel::receive(std::span<std::byte> into) {
    if (!into.empty() && !TRY(receive_or_end(into)))
        return base::fail_sys(ECONNRESET, "the other end closed the page connection");
    return {};
}

std::unique_ptr<Channel> plain_channel(base::UniqueFd socket) {
    return std::make_unique<PlainChannel>(std::move(socket));
}

} // namespace pages
