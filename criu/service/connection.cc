#include "criu/service/connection.hh"

#include "base/fd_message.hh"
#include "criu/service/request_text.hh"

#include <csignal>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace service {
namespace {

constexpr int kSoPeerGroups = 59, kSoPeerPidfd = 77; // younger than the headers
constexpr size_t kLargestRequest = 1u << 20;

std::vector<gid_t> groups_of(int socket) {
    std::vector<gid_t> groups(64);
    for (;;) {
        auto size = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
        const bool known = getsockopt(socket, SOL_SOCKET, kSoPeerGroups, groups.data(), &size) == 0;
        const bool too_small = !known && errno == ERANGE;
        groups.resize(known || too_small ? size / sizeof(gid_t) : 0);
        if (!too_small)
            return groups;
    }
}

} // namespace

Result<Peer> Peer::of(int socket) {
    ucred credentials{};
    socklen_t size = sizeof credentials;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0)
        return base::fail_sys("who the client is");
    Peer peer;
    peer.pid_ = credentials.pid;
    peer.uid_ = credentials.uid;
    peer.gid_ = credentials.gid;
    peer.groups_ = groups_of(socket);
    int pidfd = -1;
    socklen_t pidfd_size = sizeof pidfd;
    if (getsockopt(socket, SOL_SOCKET, kSoPeerPidfd, &pidfd, &pidfd_size) == 0)
        peer.pidfd_ = base::UniqueFd(pidfd);
    return peer;
}

bool Peer::is_alive() const {
    return !pidfd_ || syscall(SYS_pidfd_send_signal, pidfd_.get(), 0, nullptr, 0) == 0 || errno == EPERM;
}

Result<base::UniqueFd> Peer::open(int number, int flags) const {
    base::UniqueFd fd(::open(fmt::format("/proc/{}/fd/{}", pid_, number).c_str(), flags | O_CLOEXEC));
    const int error = errno;
    if (!is_alive())
        return base::fail(base::ErrorKind::Died, fmt::format("the client, process {}, has ended", pid_));
    if (!fd)
        return base::fail_sys(error, fmt::format("descriptor {} of process {}", number, pid_));
    return fd;
}

Result<base::UniqueFd> Peer::fetch(int number) const {
    base::UniqueFd opened;
    if (!pidfd_)
        opened.reset(static_cast<int>(syscall(SYS_pidfd_open, pid_, 0)));
    const int pidfd = pidfd_ ? pidfd_.get() : opened.get();
    base::UniqueFd fd(static_cast<int>(syscall(SYS_pidfd_getfd, pidfd, number, 0)));
    if (!fd)
        return base::fail_sys(fmt::format("descriptor {} of process {}", number, pid_));
    return fd;
}

Result<Connection> Connection::on(base::UniqueFd socket) {
    Connection connection;
    struct stat own {};
    int type = 0;
    socklen_t size = sizeof type;
    if (fstat(socket.get(), &own) < 0 || getsockopt(socket.get(), SOL_SOCKET, SO_TYPE, &type, &size) < 0)
        return base::fail_sys(fmt::format("descriptor {}", socket.get()));
    if (type != SOCK_SEQPACKET)
        return base::fail(base::ErrorKind::Usage,
                          fmt::format("descriptor {} is no socket of type SOCK_SEQPACKET", socket.get()));
    connection.peer_ = TRY(Peer::of(socket.get()));
    connection.inode_ = static_cast<uint32_t>(own.st_ino);
    connection.socket_ = std::move(socket);
    fcntl(connection.fd(), F_SETFD, FD_CLOEXEC);
    return connection;
}

Result<std::optional<img::criu_req>> Connection::receive() {
    ssize_t size;
    do
        size = recv(fd(), nullptr, 0, MSG_PEEK | MSG_TRUNC);
    while (size < 0 && errno == EINTR);
    if (size < 0)
        return base::fail_sys("receive a request");
    std::string bytes(static_cast<size_t>(size), '\0');
    if (bytes.size() > kLargestRequest)
        return base::bad_image(fmt::format("a request of {} bytes", bytes.size()));
    size = recv(fd(), bytes.data(), bytes.size(), 0);
    if (size < 0)
        return base::fail_sys("receive a request");
    if (size == 0)
        return std::nullopt;
    bytes.resize(static_cast<size_t>(size));
    return TRY(parse_request(bytes));
}

Result<void> Connection::send(const img::criu_resp &answer, int descriptor) {
    const std::string bytes = answer.SerializeAsString();
    if (base::send_with_fds(fd(), bytes.data(), bytes.size(), std::span(&descriptor, descriptor < 0 ? 0 : 1)) < 0)
        return base::fail_sys("answer the client");
    return {};
}

bool Connection::is_abandoned() const {
    pollfd events{fd(), 0, 0};
    return poll(&events, 1, 0) > 0 && (events.revents & POLLHUP);
}

} // namespace service
