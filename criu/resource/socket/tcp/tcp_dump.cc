// TCP sockets, dumped together when all files of the tree are known: the network is locked for all connections at once,
// then each is read. Nothing can change in between: the tree is frozen, and no packet gets through.
//
// A dump that lets the tree live takes the lock back; one that kills it leaves the lock for the restore, and puts the
// sockets into repair mode again before the tasks die, so that their ends go unnoticed.
#include "criu/kernel/inet_diag.hh"
#include "criu/kernel/network_lock.hh"
#include "criu/resource/socket/inet/inet_options.hh"
#include "criu/resource/socket/inet/inet_socket.hh"
#include "criu/resource/socket/option_list.hh"
#include "criu/resource/socket/tcp/tcp_pending.hh"
#include "criu/resource/socket/tcp/tcp_stream.hh"
#include "criu/resource/socket/tcp/tcp_watchdog.hh"

#include <algorithm>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <set>
#include <sys/socket.h>
#include <unistd.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

namespace resource {
namespace {

struct TcpSocket {
    base::UniqueFd fd;
    OpenFile file; ///< its descriptor is `fd`
    InetIdentity identity;
    uint32_t state = TCP_CLOSE; ///< when it was met; only being connected is sure to stay
    Endpoint local;
    std::optional<Endpoint> peer;
    bool reuse_address = false;

    bool connected() const { return state != TCP_LISTEN && state != TCP_CLOSE; }
    std::string text() const { return fmt::format("{} -> {}", to_text(local), peer ? to_text(*peer) : "nobody"); }
};

struct TcpDump {
    std::vector<TcpSocket> sockets;
    std::map<uint32_t, std::vector<kernel::Connection>> connections; ///< to be locked, by network namespace
    std::vector<kernel::HeldNetworkLock> locks;                      ///< in the order of `connections`
    std::optional<TcpWatchdog> watchdog;
    std::string usual_congestion;
    bool locked = false, in_repair = false;
    std::vector<TcpEnd> ends; ///< of `sockets`, in the same order
    PendingEnds pending;
};

bool has_poll_event(int fd, short event) {
    pollfd poller{fd, event, 0};
    return poll(&poller, 1, 0) == 1 && (poller.revents & event);
}

/// The watchdog of a dump that was killed a moment ago may still be at work: SO_REUSEADDR is 2 in repair mode.
bool reuse_address_of(int fd) {
    int reuse = 0;
    for (int tries = 0; tries < 500; tries++) {
        get_int_option(fd, SOL_SOCKET, SO_REUSEADDR, &reuse);
        if (reuse < 2)
            break;
        usleep(1000);
    }
    return reuse == 1;
}

// ---- refusals ------------------------------------------------------------------------------------------------------

std::string upper_protocol(int fd) {
    char name[16] = {};
    socklen_t length = sizeof name - 1;
    return getsockopt(fd, SOL_TCP, TCP_ULP, name, &length) == 0 ? std::string(name, strnlen(name, length)) : "";
}

bool is_authenticated(int fd) {
    constexpr int kAuthInfo = 40; // TCP_AO_INFO
    char info[128] = {};
    socklen_t length = sizeof info;
    return getsockopt(fd, SOL_TCP, kAuthInfo, info, &length) == 0;
}

Result<void> refuse(const TcpSocket &socket, const char *what, const char *hint) {
    return base::fail(
        base::Error(base::ErrorKind::Unsupported, fmt::format("{} ({})", what, socket.text())).hint(hint));
}

Result<void> check_connection(const TcpSocket &socket, const FileOptions &options) {
    if (!options.tcp_established && !options.tcp_close)
        return refuse(socket, "a TCP connection",
                      "--tcp-established keeps it, --tcp-close restores it as closed; see also --skip-in-flight");
    if (options.tcp_close)
        return {};
    if (socket.identity.protocol == IPPROTO_MPTCP)
        return refuse(socket, "an established MPTCP connection cannot be checkpointed",
                      "the kernel has no repair mode for it: switch MPTCP off (net.mptcp.enabled), or use --tcp-close");
    if (std::string name = upper_protocol(socket.fd.get()); !name.empty())
        return refuse(socket,
                      name == "tls" ? "a TCP connection with TLS in the kernel cannot be checkpointed"
                                    : "a TCP connection with an upper protocol cannot be checkpointed",
                      "the kernel does not give its keys: use TLS in the program, or --tcp-close");
    if (is_authenticated(socket.fd.get()))
        return refuse(socket, "a TCP connection with authentication (TCP-AO) cannot be checkpointed",
                      "use --tcp-close");
    if (socket.state == TCP_SYN_RECV)
        return refuse(socket, "a TCP connection in the state SYN_RECV", "try again a moment later");
    if (has_poll_event(socket.fd.get(), POLLPRI))
        return refuse(socket, "a TCP connection with urgent data that was not read", "try again when it was read");
    return {};
}

/// getpeername(2) does not tell whom a socket in SYN_SENT is calling.
Result<void> find_peers(TcpDump &dump, Networks &networks) {
    std::map<uint64_t, TcpSocket *> calling;
    for (TcpSocket &socket : dump.sockets)
        if (socket.connected() && !socket.peer)
            calling[socket.file.stat.st_ino] = &socket;
    if (calling.empty())
        return {};
    return networks.in_each([&](uint32_t) -> Result<void> {
        for (int family : {AF_INET, AF_INET6})
            for (const auto &facts : TRY(kernel::list_inet_sockets(family, IPPROTO_TCP, 1u << TCP_SYN_SENT)))
                if (auto found = calling.find(facts.inode); found != calling.end())
                    found->second->peer = Endpoint{.family = found->second->local.family,
                                                   .address = facts.peer,
                                                   .port = facts.peer_port,
                                                   .scope = facts.interface};
        return {};
    });
}

// ---- lock and repair -----------------------------------------------------------------------------------------------

template <class F> Result<void> for_each_connection(TcpDump &dump, F &&body) {
    for (TcpSocket &socket : dump.sockets)
        if (socket.connected())
            TRY_CTX(body(socket), socket.text());
    return {};
}

} // namespace

/// The connections go on as if nothing had been.
void take_back_tcp(FileDumpContext &context, bool) {
    TcpDump &dump = context.states.of<TcpDump>();
    if (dump.in_repair)
        for (TcpSocket &socket : dump.sockets)
            if (socket.connected())
                (void)leave_repair_silently(socket.fd.get(), socket.reuse_address);
    dump.in_repair = false;
    for (kernel::HeldNetworkLock &lock : dump.locks)
        if (auto unlocked = lock.release(); !unlocked)
            context.log.warn(unlocked.error().message());
    dump.locks.clear();
    dump.locked = false;
    if (dump.watchdog)
        dump.watchdog->dismiss();
}

/// The ends of the connections go unnoticed.
Result<void> prepare_tcp_for_kill(FileDumpContext &context) {
    TcpDump &dump = context.states.of<TcpDump>();
    if (dump.locked) {
        dump.in_repair = true;
        dump.watchdog->killing();
        TRY(for_each_connection(dump, [](TcpSocket &socket) { return enter_repair(socket.fd.get()); }));
    }
    return fetch_pending(context);
}

Result<void> make_tcp_locks_lasting(FileDumpContext &context) {
    TcpDump &dump = context.states.of<TcpDump>();
    auto lock = dump.locks.begin();
    for (auto &[net, connections] : dump.connections)
        if (lock != dump.locks.end())
            TRY((lock++)->make_lasting(connections));
    return {};
}

namespace {

Result<void> lock(TcpDump &dump, FileDumpContext &context) {
    std::vector<WatchedSocket> watched;
    std::set<size_t> unlocked; // both ends of these are frozen
    for (auto &[listener, clients] : dump.pending)
        for (const PendingEnd &pending : clients)
            unlocked.insert(pending.client);
    for (size_t i = 0; i < dump.sockets.size(); i++)
        if (const TcpSocket &socket = dump.sockets[i]; socket.connected() && socket.peer) {
            if (!unlocked.contains(i))
                dump.connections[socket.file.net].push_back(to_connection(socket.local, *socket.peer));
            watched.push_back({socket.fd.get(), socket.reuse_address});
        }
    if (watched.empty())
        return {};
    // Before the watchdog, which holds it too.
    for (auto &[net, connections] : dump.connections) {
        TRY(context.networks.enter(net));
        if (context.options.lock_network)
            dump.locks.push_back(TRY(kernel::HeldNetworkLock::take(context.options.network_table, connections)));
    }
    TRY(context.networks.go_home());
    dump.watchdog.emplace(TRY(TcpWatchdog::start(watched, dump.locks, context.tasks.front().pid)));
    dump.locked = true;
    return {};
}

// ---- one socket ----------------------------------------------------------------------------------------------------

/// A socket whose connection is over may still have data, and an error that nobody has heard of.
Result<void> dump_ended(const TcpSocket &socket, img::inet_sk_entry *entry) {
    const int fd = socket.fd.get();
    if (!has_poll_event(fd, POLLRDHUP))
        return {};
    entry->set_shutdown(img::BOTH);
    entry->mutable_ext()->set_ended(true);
    // Asking for the error would take it away. It can only be guessed: this is what a reset leaves.
    if (has_poll_event(fd, POLLERR)) {
        entry->mutable_ext()->set_error(ECONNRESET);
        return {}; // peeking would take it away as well
    }
    const std::string unread = TRY(peek_received(fd));
    if (!unread.empty())
        entry->mutable_ext()->set_unread(unread);
    return {};
}

Result<void> dump_listener(FileDumpContext &context, const TcpDump &dump, size_t index, img::inet_sk_entry *entry) {
    entry->set_backlog(TRY(tcp_info_of(dump.sockets[index].fd.get())).tcpi_sacked);
    auto pending = dump.pending.find(index);
    if (pending == dump.pending.end())
        return {};
    return dump_pending(context, dump.ends, index, pending->second, entry);
}

Result<void> dump_stream(FileDumpContext &context, const TcpSocket &socket, img::inet_sk_entry *entry) {
    const TcpStream stream =
        TRY(read_tcp_stream(context.states.of<PeekGuard>(), socket.fd.get(), entry->state(), socket.reuse_address));
    const TcpPhase phase = phase_of(entry->state());
    if (!phase.end_received && has_poll_event(socket.fd.get(), POLLRDHUP))
        entry->set_shutdown(phase.end_sent ? img::BOTH : img::READ);
    else if (phase.end_sent)
        entry->set_shutdown(phase.end_received ? img::BOTH : img::WRITE);
    else if (phase.end_received)
        entry->set_shutdown(img::READ);
    TRY(context.images.add(image::ImageKind::TcpStream, entry->ino(), stream.entry, stream.queues));
    return context.images.close_file(image::ImageKind::TcpStream, entry->ino());
}

Result<void> dump_one(FileDumpContext &context, const TcpDump &dump, size_t index) {
    const TcpSocket &socket = dump.sockets[index];
    img::file_entry file;
    file.set_type(img::INETSK);
    file.set_id(socket.file.id.value);
    img::inet_sk_entry *entry = file.mutable_isk();
    const uint32_t state = TRY(tcp_info_of(socket.fd.get())).tcpi_state;
    const bool closes = socket.connected() && context.options.tcp_close;
    TRY(describe_inet(context, socket.file, socket.identity, closes ? uint32_t{TCP_CLOSE} : state, socket.local,
                      socket.peer && !closes ? &*socket.peer : nullptr, dump.usual_congestion, entry));
    entry->set_backlog(0);
    if (closes) {
        entry->set_shutdown(img::BOTH);
        entry->mutable_ext()->set_ended(true);
    } else if (state == TCP_LISTEN) {
        TRY(dump_listener(context, dump, index, entry));
    } else if (state == TCP_CLOSE) {
        TRY(dump_ended(socket, entry));
    } else {
        TRY(check_connection(socket, context.options));
        if (!socket.peer)
            return base::unsupported(fmt::format("a TCP socket in the state {} without a peer", tcp_state_name(state)));
        TRY(dump_stream(context, socket, entry));
    }
    return context.images.add(image::ImageKind::Files, 0, file);
}

} // namespace

bool is_tcp(const InetIdentity &identity) {
    return identity.type == SOCK_STREAM && (identity.protocol == IPPROTO_TCP || identity.protocol == IPPROTO_MPTCP);
}

bool is_tcp(const img::inet_sk_entry &entry) {
    return entry.type() == SOCK_STREAM;
}

Result<void> examine_tcp(const OpenFile &file, const InetIdentity &identity, const FileOptions &options) {
    TcpSocket socket{.fd = base::UniqueFd(fcntl(file.fd, F_DUPFD_CLOEXEC, 0)), .file = {}, .identity = identity};
    socket.state = TRY(tcp_info_of(file.fd)).tcpi_state;
    socket.local = TRY(local_endpoint(file.fd));
    socket.peer = peer_endpoint(file.fd);
    return socket.connected() ? check_connection(socket, options) : Result<void>{};
}

Result<void> remember_tcp(FileDumpContext &context, const OpenFile &file, const InetIdentity &identity) {
    TcpSocket socket{.fd = base::UniqueFd(fcntl(file.fd, F_DUPFD_CLOEXEC, 0)), .file = file, .identity = identity};
    if (!socket.fd)
        return base::fail(std::move(base::Error::sys("keep a TCP socket at hand")
                                        .hint("the dump needs a descriptor for every TCP socket of the tree at once: "
                                              "raise the hard limit on open files (ulimit -Hn)")));
    socket.file.fd = socket.fd.get();
    socket.state = TRY(tcp_info_of(file.fd)).tcpi_state;
    socket.local = TRY(local_endpoint(file.fd));
    socket.peer = peer_endpoint(file.fd);
    socket.reuse_address = reuse_address_of(file.fd);
    if (socket.connected())
        TRY(check_connection(socket, context.options));
    TcpDump &dump = context.states.of<TcpDump>();
    if (dump.usual_congestion.empty())
        if (base::UniqueFd fresh(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)); fresh)
            dump.usual_congestion = congestion_of(fresh.get());
    dump.sockets.push_back(std::move(socket));
    context.postponed = true;
    return {};
}

Result<void> dump_all_tcp(FileDumpContext &context) {
    TcpDump &dump = context.states.of<TcpDump>();
    TRY(find_peers(dump, context.networks));
    for (const TcpSocket &socket : dump.sockets)
        dump.ends.push_back({.file = socket.file.id,
                             .inode = socket.file.stat.st_ino,
                             .net = socket.file.net,
                             .fd = socket.fd.get(),
                             .state = socket.state,
                             .local = socket.local,
                             .peer = socket.peer});
    if (!context.options.skip_in_flight)
        TRY(context.networks.in_each([&](uint32_t net) { return find_pending(dump.ends, net, dump.pending); }));
    if (context.options.tcp_established && !context.options.tcp_close)
        TRY(lock(dump, context));
    for (size_t i = 0; i < dump.sockets.size(); i++) {
        TRY(context.networks.enter(dump.sockets[i].file.net));
        TRY_CTX(dump_one(context, dump, i), dump.sockets[i].file.link);
    }
    return context.networks.go_home();
}

} // namespace resource
