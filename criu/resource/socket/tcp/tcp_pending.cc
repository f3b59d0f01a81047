#include "criu/resource/socket/tcp/tcp_pending.hh"

#include "criu/kernel/inet_diag.hh"
#include "criu/resource/socket/option_list.hh"
#include "criu/resource/socket/socket_options.hh"
#include "criu/resource/socket/tcp/tcp_stream.hh"

#include <algorithm>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace resource {
namespace {

/// The image of what the server's side has received: beside the client's own, whose number is its inode.
uint64_t image_of(uint64_t client_inode) {
    return uint64_t{1} << 32 | client_inode;
}

uint32_t waiting_at(int listener) {
    auto info = tcp_info_of(listener);
    return info ? info->tcpi_unacked : 0;
}

bool listens_at(const TcpEnd &end, const kernel::InetSocketFacts &facts) {
    if (end.state != TCP_LISTEN || end.local.port != facts.local_port)
        return false;
    const Endpoint local = Endpoint{.family = facts.family, .address = facts.local}.unmapped();
    return end.local.any() || end.local.unmapped().address == local.address;
}

bool same_address(const Endpoint &a, uint8_t family, const std::array<uint8_t, 16> &address, uint16_t port) {
    const Endpoint plain = a.unmapped(), other = Endpoint{.family = family, .address = address}.unmapped();
    return plain.port == port && plain.family == other.family && plain.address == other.address;
}

base::Error cannot_keep(const TcpEnd &listener, std::string_view why) {
    return std::move(
        base::Error(base::ErrorKind::Unsupported,
                    fmt::format("TCP connections wait to be accepted at {}, {}", to_text(listener.local), why))
            .hint("--skip-in-flight drops them"));
}

/// Indices of those of `ends` that fit.
template <class F> std::vector<size_t> find(const std::vector<TcpEnd> &ends, F &&fits) {
    std::vector<size_t> found;
    for (size_t i = 0; i < ends.size(); i++)
        if (fits(ends[i]))
            found.push_back(i);
    return found;
}

} // namespace

Result<void> find_pending(const std::vector<TcpEnd> &ends, uint32_t net, PendingEnds &pending) {
    const auto busy = find(
        ends, [&](const TcpEnd &end) { return end.net == net && end.state == TCP_LISTEN && waiting_at(end.fd) > 0; });
    if (busy.empty())
        return {};
    constexpr uint32_t kStates = 1u << TCP_ESTABLISHED | 1u << TCP_CLOSE_WAIT;
    for (int family : {AF_INET, AF_INET6})
        for (const auto &facts : TRY(kernel::list_inet_sockets(family, IPPROTO_TCP, kStates))) {
            if (facts.inode)
                continue;
            const auto listeners =
                find(ends, [&](const TcpEnd &end) { return end.net == net && listens_at(end, facts); });
            if (listeners.empty())
                continue; // somebody else's, or a connection that its owner has closed
            if (listeners.size() > 1)
                return base::fail(cannot_keep(ends[listeners[0]], "which several sockets share"));
            const auto clients = find(ends, [&](const TcpEnd &end) {
                return end.net == net && end.peer &&
                       same_address(end.local, facts.family, facts.peer, facts.peer_port) &&
                       same_address(*end.peer, facts.family, facts.local, facts.local_port);
            });
            if (clients.size() != 1)
                return base::fail(cannot_keep(ends[listeners[0]], "whose clients are outside of the tree"));
            const bool ended = facts.state == TCP_CLOSE_WAIT && facts.received; // the end counts as a byte
            pending[listeners[0]].push_back({clients[0], facts.received - ended});
        }
    for (size_t listener : busy)
        if (pending[listener].size() != waiting_at(ends[listener].fd))
            return base::fail(cannot_keep(ends[listener], "and not all of them can be found"));
    for (size_t listener : busy)
        std::ranges::sort(pending[listener], {}, &PendingEnd::client); // the order of the queue does not show
    return {};
}

// ---- dump ----------------------------------------------------------------------------------------------------------

namespace {

struct Reserved {
    Endpoint client;
    base::UniqueFd file; ///< the image: the data's place is its end
    uint32_t bytes = 0;
    uint32_t unsent = 0; ///< in the client's queue
};

/// Listeners whose queues are taken right before the tree is killed.
struct ToFetch {
    std::vector<std::pair<int, std::vector<Reserved>>> listeners;
};

uint32_t queued(int fd, unsigned long request) {
    int bytes = 0;
    return ioctl(fd, request, &bytes) < 0 ? 0 : static_cast<uint32_t>(bytes);
}

Result<Reserved> reserve(FileDumpContext &context, const TcpEnd &client, uint32_t bytes) {
    img::tcp_stream_entry entry;
    entry.set_inq_len(bytes), entry.set_inq_seq(0), entry.set_outq_len(0), entry.set_outq_seq(0);
    entry.set_opt_mask(0), entry.set_snd_wscale(0), entry.set_mss_clamp(0);
    const uint64_t image = image_of(client.inode);
    TRY(context.images.add(image::ImageKind::TcpStream, image, entry, std::vector<std::byte>(bytes)));
    const int fd = TRY(context.images.raw(image::ImageKind::TcpStream, image));
    Reserved place{.client = client.local, .bytes = bytes};
    place.file.reset(fcntl(fd, F_DUPFD_CLOEXEC, 0));
    if (!place.file)
        return base::fail_sys("keep an image open");
    place.unsent = queued(client.fd, SIOCOUTQ);
    TRY(context.images.close_file(image::ImageKind::TcpStream, image));
    return place;
}

Result<std::string> peek_accepted(int fd) {
    TRY(set_int_option(fd, SOL_TCP, TCP_REPAIR_QUEUE, TCP_RECV_QUEUE, "TCP_REPAIR_QUEUE"));
    return peek_received(fd);
}

Result<void> fetch_one(int listener, std::vector<Reserved> &places) {
    sockaddr_in6 address{};
    socklen_t length = sizeof address;
    base::UniqueFd fd(accept4(listener, reinterpret_cast<sockaddr *>(&address), &length, SOCK_CLOEXEC));
    if (!fd)
        return base::fail_sys("accept a connection that waits");
    TRY(enter_repair(fd.get())); // it is closed without a word
    const Endpoint peer = from_sockaddr(address).unmapped();
    for (Reserved &place : places) {
        if (place.client.unmapped() != peer)
            continue;
        const std::string data = TRY(peek_accepted(fd.get()));
        struct stat stat {};
        if (data.size() != place.bytes || fstat(place.file.get(), &stat) < 0 ||
            pwrite(place.file.get(), data.data(), data.size(), stat.st_size - place.bytes) !=
                static_cast<ssize_t>(data.size()))
            return base::fail_sys(EIO, "write what a waiting connection has received");
    }
    return {};
}

/// Takes the queue of a listener, which may be blocking.
Result<void> fetch_all(int listener, std::vector<Reserved> &places) {
    while (waiting_at(listener) > 0)
        TRY(fetch_one(listener, places));
    return {};
}

} // namespace

Result<void> dump_pending(FileDumpContext &context, const std::vector<TcpEnd> &ends, size_t listener_index,
                          const std::vector<PendingEnd> &waiting, img::inet_sk_entry *entry) {
    std::vector<Reserved> places;
    const TcpEnd &listener = ends[listener_index];
    for (const auto &[client_index, bytes] : waiting) {
        const TcpEnd &client = ends[client_index];
        img::ext_pending_connection *pending = entry->mutable_ext()->add_pending();
        pending->set_file(client.file.value);
        pending->set_local(to_bytes(listener.local));
        pending->set_peer(to_bytes(client.local));
        if (bytes == 0)
            continue;
        if (context.options.tree_survives)
            return base::fail(cannot_keep(listener, "with data, which only a dump that ends the program can save"));
        places.push_back(TRY(reserve(context, client, bytes)));
    }
    if (!places.empty())
        context.states.of<ToFetch>().listeners.emplace_back(listener.fd, std::move(places));
    return {};
}

Result<void> fetch_pending(FileDumpContext &context) {
    for (auto &[listener, places] : std::exchange(context.states.of<ToFetch>().listeners, {}))
        TRY(fetch_all(listener, places));
    return {};
}

// ---- restore -------------------------------------------------------------------------------------------------------

namespace {

Result<std::vector<std::byte>> received_data(FileOpenContext &context, uint32_t client_inode) {
    auto found = TRY(
        context.images.read_with_payload<img::tcp_stream_entry>(image::ImageKind::TcpStream, image_of(client_inode)));
    return found.empty() ? std::vector<std::byte>{} : std::move(found[0].payload);
}

Result<void> connect_now(int fd, const Endpoint &peer) {
    const SocketAddress to = to_sockaddr(peer);
    const int flags = fcntl(fd, F_GETFL);
    fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    int error = connect(fd, to.get(), to.length) == 0 ? 0 : errno;
    if (error == EINPROGRESS) {
        constexpr int kPatience = 5000;
        pollfd poller{fd, POLLOUT, 0};
        socklen_t length = sizeof error;
        error = poll(&poller, 1, kPatience) == 1 ? 0 : ETIMEDOUT;
        if (!error)
            getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
    }
    fcntl(fd, F_SETFL, flags);
    return error ? base::fail_sys(error, fmt::format("connect to {}", to_text(peer))) : Result<void>{};
}

Result<void> send_all(int fd, std::span<const std::byte> data) {
    while (!data.empty()) {
        const ssize_t n = send(fd, data.data(), data.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n <= 0)
            return base::fail_sys("send what a waiting connection had sent");
        data = data.subspan(static_cast<size_t>(n));
    }
    return {};
}

Result<void> restore_one(FileOpenContext &context, const img::ext_pending_connection &pending) {
    auto file = context.files.find(pending.file());
    auto fd = context.opened.find(pending.file());
    if (file == context.files.end() || !file->second.has_isk() || fd == context.opened.end())
        return base::bad_image(fmt::format("a connection that waits has no client (file {})", pending.file()));
    const img::inet_sk_entry &client = file->second.isk();
    auto own = TRY(context.images.read_with_payload<img::tcp_stream_entry>(image::ImageKind::TcpStream, client.ino()));
    if (own.size() != 1 || own[0].payload.size() < own[0].message.inq_len())
        return base::bad_image(fmt::format("tcp-stream-{:x}.img is damaged", client.ino()));
    TRY(make_room(context.outside, fd->second, client.opts()));
    TRY(connect_now(fd->second, TRY(read_peer(client))));
    TRY(send_all(fd->second, TRY(received_data(context, client.ino()))));
    TRY(send_all(fd->second, std::span(own[0].payload).subspan(own[0].message.inq_len())));
    if (phase_of(client.state()).end_sent && shutdown(fd->second, SHUT_WR) < 0)
        return base::fail_sys("shut down a TCP connection");
    return {};
}

} // namespace

std::set<uint32_t> pending_clients(const std::map<uint32_t, img::file_entry> &files) {
    std::set<uint32_t> clients;
    for (auto &[id, file] : files)
        for (const img::ext_pending_connection &pending : file.isk().ext().pending())
            clients.insert(pending.file());
    return clients;
}

Result<void> restore_pending(FileOpenContext &context, const img::inet_sk_entry &listener) {
    for (const img::ext_pending_connection &pending : listener.ext().pending())
        TRY_CTX(restore_one(context, pending), "a connection that waits to be accepted");
    return {};
}

} // namespace resource
