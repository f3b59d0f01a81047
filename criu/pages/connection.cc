#include "criu/pages/connection.hh"

#include <fcntl.h>
#include <fmt/format.h>
#include <memory>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

namespace pages {
namespace {

using AddressList = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

std::string name_of(const Endpoint &where) {
    return fmt::format("{}:{}", where.address.empty() ? "localhost" : where.address, where.port);
}

/// Without an address that of this machine: pages are not for whoever comes by.
Result<AddressList> addresses_of(const Endpoint &where, int flags) {
    addrinfo wanted{};
    wanted.ai_family = where.address.empty() ? AF_INET : AF_UNSPEC;
    wanted.ai_socktype = SOCK_STREAM;
    wanted.ai_flags = AI_NUMERICSERV | flags;
    addrinfo *found = nullptr;
    const char *address = where.address.empty() ? "127.0.0.1" : where.address.c_str();
    const int code = getaddrinfo(address, std::to_string(where.port).c_str(), &wanted, &found);
    if (code != 0)
        return base::fail(base::ErrorKind::Usage, fmt::format("--address {}: {}", address, gai_strerror(code)));
    return AddressList(found, freeaddrinfo);
}

uint16_t port_of(int socket) {
    sockaddr_storage bound{};
    socklen_t size = sizeof bound;
    if (getsockname(socket, reinterpret_cast<sockaddr *>(&bound), &size) < 0)
        return 0;
    if (bound.ss_family == AF_INET6)
        return ntohs(reinterpret_cast<const sockaddr_in6 *>(&bound)->sin6_port);
    return ntohs(reinterpret_cast<const sockaddr_in *>(&bound)->sin_port);
}

/// A socket of ours gets no number that a caller might close.
base::UniqueFd stream_socket(const addrinfo &at) {
    return base::UniqueFd(socket(at.ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

/// Waits for it so that a signal is seen meanwhile.
Result<void> connect_socket(int socket, const addrinfo &at) {
    const int flags = fcntl(socket, F_GETFL);
    fcntl(socket, F_SETFL, flags | O_NONBLOCK);
    if (connect(socket, at.ai_addr, at.ai_addrlen) < 0) {
        if (errno != EINPROGRESS)
            return base::fail_sys("connect");
        constexpr int kPatience = 30'000;
        TRY(wait_ready(socket, POLLOUT, kPatience));
        int code = 0;
        socklen_t size = sizeof code;
        getsockopt(socket, SOL_SOCKET, SO_ERROR, &code, &size);
        if (code)
            return base::fail_sys(code, "connect");
    }
    fcntl(socket, F_SETFL, flags);
    return {};
}

} // namespace

Result<base::UniqueFd> connect_to(const Endpoint &where) {
    if (where.socket >= 0)
        return given_socket(where.socket);
    if (where.port == 0)
        return base::fail(base::ErrorKind::Usage, "the page server's --port is missing");
    const AddressList list = TRY(addresses_of(where, 0));
    Result<void> connected;
    for (const addrinfo *at = list.get(); at; at = at->ai_next) {
        base::UniqueFd socket = stream_socket(*at);
        if (!socket)
            return base::fail_sys("socket");
        if ((connected = connect_socket(socket.get(), *at)))
            return socket;
    }
    return base::fail(std::move(connected.error()
                                    .ctx(fmt::format("page server at {}", name_of(where)))
                                    .hint("start criu page-server there first, and say its --address and --port")));
}

Result<Listening> listen_at(const Endpoint &where) {
    const AddressList list = TRY(addresses_of(where, AI_PASSIVE));
    base::UniqueFd socket = stream_socket(*list);
    if (!socket)
        return base::fail_sys("socket");
    const int yes = 1;
    setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(socket.get(), list->ai_addr, list->ai_addrlen) < 0 || listen(socket.get(), 1) < 0)
        return base::fail_sys(fmt::format("listen at {}", name_of(where)));
    const uint16_t port = port_of(socket.get());
    return Listening{std::move(socket), port};
}

Result<base::UniqueFd> accept_one(Listening &listening) {
    for (;;) {
        TRY(wait_ready(listening.socket.get(), POLLIN));
        base::UniqueFd peer(accept4(listening.socket.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (!peer && (errno == EINTR || errno == ECONNABORTED))
            continue;
        if (!peer)
            return base::fail_sys("accept a page connection");
        listening.socket.reset();
        return peer;
    }
}

Result<base::UniqueFd> given_socket(int fd) {
    int type = 0;
    socklen_t size = sizeof type;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type != SOCK_STREAM)
        return base::fail(base::ErrorKind::Usage, fmt::format("--ps-socket {}: no connected stream socket", fd));
    base::UniqueFd own(fcntl(fd, F_DUPFD_CLOEXEC, 3));
    if (!own)
        return base::fail_sys(fmt::format("--ps-socket {}", fd));
    return own;
}

void gather(int socket) {
    const int yes = 1;
    setsockopt(socket, IPPROTO_TCP, TCP_CORK, &yes, sizeof yes);
}

// Setting it sends what is gathered, also while TCP_CORK stays set: tcp(7).
void push(int socket) {
    const int yes = 1;
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
}

} // namespace pages
