// Sockets of the internet families. What is common to all: addresses, options, the flags of the description. UDP and
// raw sockets are dumped as they are met; TCP sockets are remembered, and dumped together when all are known.
#include "criu/resource/socket/inet/inet_socket.hh"

#include "criu/kernel/inet_diag.hh"
#include "criu/kernel/io.hh"
#include "criu/parse/raw_sockets.hh"
#include "criu/resource/socket/inet/binding.hh"
#include "criu/resource/socket/inet/inet_options.hh"
#include "criu/resource/socket/inet/multicast.hh"
#include "criu/resource/socket/option_list.hh"
#include "criu/resource/socket/socket_options.hh"
#include "criu/resource/socket/udp/udp.hh"
#include "criu/resource/socket/udp/udp_cork.hh"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

namespace resource {
namespace {

bool matches(const OpenFile &file) {
    return file.family == AF_INET || file.family == AF_INET6;
}

Result<void> check_supported(const InetIdentity &identity) {
    const bool known =
        is_tcp(identity) || identity.type == SOCK_RAW ||
        (identity.type == SOCK_DGRAM && (identity.protocol == IPPROTO_UDP || identity.protocol == IPPROTO_UDPLITE ||
                                         identity.protocol == IPPROTO_ICMP || identity.protocol == IPPROTO_ICMPV6));
    if (known)
        return {};
    switch (identity.protocol) {
    case IPPROTO_SCTP:
        return base::unsupported("SCTP sockets cannot be checkpointed");
    case IPPROTO_DCCP:
        return base::unsupported("DCCP sockets cannot be checkpointed");
    }
    return base::unsupported(
        fmt::format("a socket of type {} and protocol {} cannot be checkpointed", identity.type, identity.protocol));
}

/// Asked once a dump: what the kernel tells about all sockets at a time.
struct DatagramFacts {
    bool asked = false;
    std::map<uint32_t, JoinedGroups> groups;  ///< by network namespace
    std::map<uint64_t, uint8_t> shutdowns;    ///< by inode: 1 receiving, 2 sending
    std::map<uint64_t, parse::RawSocket> raw; ///< by inode: connected ones
};

Result<void> find_raw_sockets(base::Pid task, DatagramFacts &facts) {
    for (const char *name : {"raw", "raw6", "icmp", "icmp6"}) {
        auto text = kernel::read_file(AT_FDCWD, fmt::format("/proc/{}/net/{}", task.value, name).c_str());
        if (!text)
            continue; // not in this kernel
        for (const parse::RawSocket &socket : TRY(parse::parse_raw_sockets(*text)))
            if (socket.state == TCP_ESTABLISHED)
                facts.raw[socket.inode] = socket;
    }
    return {};
}

/// getpeername(2) tells nothing of raw sockets: they have no port.
std::optional<Endpoint> peer_of(const OpenFile &file, const InetIdentity &identity, const DatagramFacts &facts) {
    if (auto peer = peer_endpoint(file.fd))
        return peer;
    auto raw = facts.raw.find(file.stat.st_ino);
    if (raw == facts.raw.end())
        return std::nullopt;
    return Endpoint{.family = identity.family, .address = raw->second.peer, .port = raw->second.peer_port};
}

bool is_udp(int protocol) {
    return protocol == IPPROTO_UDP || protocol == IPPROTO_UDPLITE;
}

Result<void> find_shutdowns(DatagramFacts &facts) {
    for (int family : {AF_INET, AF_INET6})
        for (int protocol : {IPPROTO_UDP, IPPROTO_UDPLITE})
            for (const auto &socket : TRY(kernel::list_inet_sockets(family, protocol, ~0u)))
                if (socket.inode && socket.shutdown)
                    facts.shutdowns[socket.inode] = socket.shutdown;
    return {};
}

Result<std::reference_wrapper<DatagramFacts>> facts_of(FileDumpContext &context) {
    DatagramFacts &facts = context.states.of<DatagramFacts>();
    if (facts.asked)
        return std::ref(facts);
    facts.asked = true;
    TRY(context.networks.in_each([&](uint32_t net) -> Result<void> {
        const base::Pid member = context.networks.member();
        facts.groups[net] = TRY(joined_groups(member));
        TRY(find_raw_sockets(member, facts));
        return find_shutdowns(facts);
    }));
    return std::ref(facts);
}

Result<void> dump(FileDumpContext &context, const OpenFile &file, img::file_entry &entry) {
    const InetIdentity identity = TRY(identify(file.fd));
    TRY(check_supported(identity));
    if (is_tcp(identity))
        return remember_tcp(context, file, identity);
    const Endpoint local = TRY(local_endpoint(file.fd));
    DatagramFacts &facts = TRY(facts_of(context));
    const auto peer = peer_of(file, identity, facts);
    img::inet_sk_entry *socket = entry.mutable_isk();
    TRY(describe_inet(context, file, identity, peer ? TCP_ESTABLISHED : TCP_CLOSE, local, peer ? &*peer : nullptr, {},
                      socket));
    socket->set_backlog(0);
    TRY(dump_memberships(file.fd, identity.family, facts.groups[file.net], socket));
    if (auto shutdown = facts.shutdowns.find(file.stat.st_ino); shutdown != facts.shutdowns.end())
        socket->set_shutdown(static_cast<img::sk_shutdown>(shutdown->second & img::BOTH));
    if (identity.type == SOCK_DGRAM && is_udp(identity.protocol)) {
        TRY(dump_corked(context, file, socket));
        return dump_datagrams(context, file, socket);
    }
    int waiting = 0; // the next packet's length
    if (ioctl(file.fd, SIOCINQ, &waiting) == 0 && waiting)
        context.log.warn(fmt::format("{}: packets that were received but not read are not kept", file.link));
    return {};
}

Result<void> examine(const OpenFile &file, const Examined &known) {
    const InetIdentity identity = TRY(identify(file.fd));
    TRY(check_supported(identity));
    if (is_tcp(identity))
        return examine_tcp(file, identity, known.options);
    return identity.type == SOCK_DGRAM && is_udp(identity.protocol) ? examine_corked(file.fd) : Result<void>{};
}

Result<void> check(const img::inet_sk_entry &entry) {
    if (entry.type() != SOCK_STREAM && entry.type() != SOCK_DGRAM && entry.type() != SOCK_RAW)
        return base::bad_image(fmt::format("an internet socket of type {}", entry.type()));
    return {};
}

Result<base::UniqueFd> open_file(FileOpenContext &context, const img::file_entry &file) {
    const img::inet_sk_entry &entry = file.isk();
    TRY(check(entry));
    if (is_tcp(entry))
        return open_tcp(context, entry);
    auto fd = TRY(create_inet(entry));
    const Endpoint local = TRY(read_local(entry)), peer = TRY(read_peer(entry));
    // Raw sockets have a protocol in the place of the port.
    Endpoint own = local;
    if (entry.type() == SOCK_RAW)
        own.port = 0;
    if (own.is_set())
        TRY(bind_inet(context, fd.get(), entry, own));
    if (entry.state() == TCP_ESTABLISHED) {
        const SocketAddress to = to_sockaddr(peer);
        if (connect(fd.get(), to.get(), to.length) < 0)
            return base::fail_sys(fmt::format("connect to {}", to_text(peer)));
    }
    return fd;
}

Result<void> complete(FileOpenContext &context, int fd, const img::file_entry &file) {
    const img::inet_sk_entry &entry = file.isk();
    if (is_tcp(entry))
        return complete_tcp(context, fd, entry);
    TRY(restore_datagrams(context.outside, fd, entry));
    TRY(restore_memberships(fd, entry));
    TRY(finish_inet(context.outside, fd, entry));
    TRY(restore_corked(fd, entry));
    // The mark is set even where there is no connection.
    if (entry.shutdown() != img::NONE)
        (void)shutdown(fd, static_cast<int>(entry.shutdown()) - 1);
    return {};
}

Result<void> settle(FileSettleContext &context, int fd, const img::file_entry &file) {
    TRY(settle_binding(context, fd, file.isk()));
    return restore_owner(fd, file.isk().fown(), file.isk().flags());
}

Result<void> release(FileReleaseContext &, int fd, const img::file_entry &file) {
    return is_tcp(file.isk()) ? release_tcp(fd, file.isk()) : Result<void>{};
}

} // namespace

Result<InetIdentity> identify(int fd) {
    InetIdentity identity;
    if (get_int_option(fd, SOL_SOCKET, SO_DOMAIN, &identity.family) < 0 ||
        get_int_option(fd, SOL_SOCKET, SO_TYPE, &identity.type) < 0 ||
        get_int_option(fd, SOL_SOCKET, SO_PROTOCOL, &identity.protocol) < 0)
        return base::fail_sys("ask a socket what it is");
    return identity;
}

Result<void> describe_inet(const FileDumpContext &context, const OpenFile &file, const InetIdentity &identity,
                           uint32_t state, const Endpoint &local, const Endpoint *peer,
                           std::string_view usual_congestion, img::inet_sk_entry *entry) {
    entry->set_id(file.id.value);
    entry->set_ino(static_cast<uint32_t>(file.stat.st_ino));
    entry->set_family(static_cast<uint32_t>(identity.family));
    entry->set_type(static_cast<uint32_t>(identity.type));
    entry->set_proto(static_cast<uint32_t>(identity.protocol));
    entry->set_state(state);
    entry->set_flags(file.flags & ~static_cast<uint32_t>(O_CLOEXEC));
    entry->set_ns_id(file.net);
    write_endpoints(local, peer, entry);
    TRY(dump_owner(context, file, entry->mutable_fown()));
    TRY(dump_socket_options(file.fd, entry->mutable_opts()));
    TRY(dump_binding(file.fd, local, entry));
    return dump_inet_options(file.fd, entry, usual_congestion);
}

Result<base::UniqueFd> create_inet(const img::inet_sk_entry &entry) {
    base::UniqueFd fd(socket(static_cast<int>(entry.family()), static_cast<int>(entry.type()) | SOCK_CLOEXEC,
                             static_cast<int>(entry.proto())));
    if (!fd)
        return base::fail_sys("socket");
    TRY(restore_early_socket_options(fd.get(), entry.opts()));
    TRY(restore_early_inet_options(fd.get(), entry));
    return fd;
}

Result<void> finish_inet(const kernel::Outside &outside, int fd, const img::inet_sk_entry &entry) {
    TRY(restore_inet_options(fd, entry));
    TRY(restore_socket_options(outside, fd, entry.opts()));
    // O_ASYNC comes with the owner.
    if ((entry.flags() & O_NONBLOCK) && fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
        return base::fail_sys("fcntl(F_SETFL)");
    return {};
}

extern const FileKind kInetSocket{
    .name = "internet socket",
    .type = img::INETSK,
    .about = {.saved = "TCP, UDP, UDP-Lite, raw and ping sockets of IPv4 and IPv6: addresses, options, filters, "
                       "memberships; TCP in every state with `--tcp-established`: sequence numbers, windows, both "
                       "queues, connections that nobody has accepted yet; datagrams with their senders, and those that "
                       "are held back by UDP_CORK",
              .restored = "connections in repair mode, behind a network lock; with `--tcp-close` as closed sockets",
              .limits = "refused: established MPTCP, TLS in the kernel, TCP-AO, unread urgent data, corked UDP data "
                        "where the kernel has no "
                        "type information (BTF) or with IP options, "
                        "unread errors, waiting connections of clients outside of the tree, SCTP, DCCP, extended BPF "
                        "filters; lost: unread packets of raw and ping sockets (the dump warns), TCP-MD5 keys, "
                        "congestion windows, programs that choose among sockets of a port"},
    .matches = matches,
    .dump = dump,
    .finish = dump_all_tcp,
    .before_kill = prepare_tcp_for_kill,
    .outlive = make_tcp_locks_lasting,
    .take_back = take_back_tcp,
    .place = [](const img::file_entry &file) { return Place{.net = file.isk().ns_id()}; },
    .open = open_file,
    .complete = complete,
    .settle = settle,
    .release = release,
    .examine = examine};

} // namespace resource
