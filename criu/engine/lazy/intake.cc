#include "criu/engine/lazy/intake.hh"

#include "criu/pages/channel.hh"
#include "criu/pages/lazy_socket.hh"

#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

namespace lazy {
namespace {

std::unexpected<base::Error> gone() {
    return base::fail(base::ErrorKind::Died, "the restore has ended: Restorer unexpectedly closed the connection");
}

/// Fills `into`, and takes what comes along with its first byte.
Result<void> receive(int socket, void *into, size_t size, base::UniqueFd *fd = nullptr, pid_t *sender = nullptr) {
    for (size_t done = 0; done < size;) {
        TRY(pages::wait_ready(socket, POLLIN));
        iovec part{static_cast<char *>(into) + done, size - done};
        alignas(cmsghdr) char control[256];
        msghdr message{};
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        message.msg_control = control;
        message.msg_controllen = sizeof control;
        const ssize_t n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return base::fail_sys("receive from the restore");
        if (n == 0)
            return gone();
        for (cmsghdr *head = CMSG_FIRSTHDR(&message); head; head = CMSG_NXTHDR(&message, head)) {
            if (head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS) {
                const size_t count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
                for (size_t i = 0; i < count; i++) {
                    int number = -1;
                    std::memcpy(&number, CMSG_DATA(head) + i * sizeof(int), sizeof number);
                    base::UniqueFd owned(number);
                    if (fd && !*fd)
                        *fd = std::move(owned);
                }
            } else if (head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_CREDENTIALS && sender) {
                ucred credentials{};
                std::memcpy(&credentials, CMSG_DATA(head), sizeof credentials);
                *sender = credentials.pid;
            }
        }
        done += static_cast<size_t>(n);
    }
    return {};
}

} // namespace

Result<Intake> Intake::listen() {
    Intake intake;
    base::UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, pages::kLazySocketName);
    struct stat there {};
    if (lstat(pages::kLazySocketName, &there) == 0 && (!S_ISSOCK(there.st_mode) || unlink(pages::kLazySocketName) < 0))
        return base::fail(base::ErrorKind::Busy,
                          fmt::format("{} is there and cannot be replaced", pages::kLazySocketName));
    constexpr int kBacklog = 10;
    if (!socket || bind(socket.get(), reinterpret_cast<const sockaddr *>(&address), sizeof address) < 0 ||
        ::listen(socket.get(), kBacklog) < 0)
        return base::fail_sys(fmt::format("listen at {}", pages::kLazySocketName));
    intake.listener_ = std::move(socket);
    return intake;
}

Intake::~Intake() {
    if (listener_)
        unlink(pages::kLazySocketName);
}

Result<void> Intake::accept(int caller) {
    constexpr int kLookMs = 100;
    for (bool there = false; !there;) {
        auto ready = pages::wait_ready(listener_.get(), POLLIN, caller < 0 ? -1 : kLookMs);
        there = ready.has_value();
        if (!there && ready.error().code() != ETIMEDOUT)
            return ready;
        pollfd end{caller, POLLIN, 0};
        if (!there && poll(&end, 1, 0) == 1)
            return base::fail(base::ErrorKind::Died, "the restore has ended before it wanted anything");
    }
    peer_.reset(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!peer_)
        return base::fail_sys("accept the restore");
    // Whose each descriptor is: the number in the images says nothing of it where the tree has pids of its own.
    const int yes = 1;
    setsockopt(peer_.get(), SOL_SOCKET, SO_PASSCRED, &yes, sizeof yes);
    listener_.reset();
    unlink(pages::kLazySocketName);
    return {};
}

Result<NewProcess> Intake::next() {
    int32_t number = 0;
    TRY(receive(peer_.get(), &number, sizeof number));
    NewProcess found;
    found.image = static_cast<uint32_t>(number < 0 ? -number : number);
    if (number == 0 || number == INT32_MIN)
        return base::bad_image("the restore sends a process without a number");
    if (number < 0)
        return found;
    char dummy = 0;
    pid_t sender = 0;
    TRY(receive(peer_.get(), &dummy, sizeof dummy, &found.fd, &sender));
    if (!found.fd)
        return base::bad_image(fmt::format("the restore sends no descriptor for process {}", number));
    if (sender > 0)
        found.pidfd.reset(static_cast<int>(syscall(SYS_pidfd_open, sender, 0)));
    return found;
}

Result<void> Intake::take_end() {
    uint32_t word = 0;
    TRY(receive(peer_.get(), &word, sizeof word));
    return word == pages::kLazyAllSent ? Result<void>()
                                       : base::bad_image("the restore ends with a word that is not known");
}

} // namespace lazy
