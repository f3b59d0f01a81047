#include "criu/resource/socket/inet/binding.hh"

#include "criu/kernel/inet_diag.hh"
#include "criu/resource/socket/option_list.hh"

#include <fmt/format.h>
#include <sys/socket.h>
#include <tuple>

namespace resource {
namespace {

// Sockets of IPv4 and IPv6 meet at one port.
using Port = std::tuple<uint32_t, uint32_t, uint32_t>; // type, protocol, number

Port port_of(const img::inet_sk_entry &entry) {
    return {entry.type(), entry.proto(), entry.src_port()};
}

/// Kept until the holders settle their files.
struct Sharing {
    std::optional<std::multimap<Port, uint32_t>> ids; ///< of all files, made at first need
    std::set<uint32_t> lent;                          ///< files whose options are not their own for now
};

std::multimap<Port, uint32_t> by_port(const ImageFiles &files) {
    std::multimap<Port, uint32_t> ids;
    for (const auto &[id, file] : files)
        if (file.has_isk() && file.isk().src_port())
            ids.emplace(port_of(file.isk()), id);
    return ids;
}

/// Sets an option on a socket and on those of its port that are open already.
Result<void> lend(FileOpenContext &context, int fd, const img::inet_sk_entry &entry, int option, const char *text) {
    Sharing &sharing = context.kept.of<Sharing>();
    if (!sharing.ids)
        sharing.ids = by_port(context.files);
    auto [mate, end] = sharing.ids->equal_range(port_of(entry));
    for (; mate != end; ++mate) {
        auto opened = context.opened.find(mate->second);
        if (opened == context.opened.end())
            continue;
        sharing.lent.insert(mate->second);
        TRY(set_int_option(opened->second, SOL_SOCKET, option, 1, text));
    }
    sharing.lent.insert(entry.id());
    return set_int_option(fd, SOL_SOCKET, option, 1, text);
}

/// Calls again with what may stand in the way removed, the least first.
template <class Call>
Result<int> take_port(FileOpenContext &context, int fd, const img::inet_sk_entry &entry, Call call) {
    int r = call();
    if (r < 0 && errno == EADDRINUSE) {
        TRY(lend(context, fd, entry, SO_REUSEADDR, "SO_REUSEADDR"));
        r = call();
    }
    // Two that listen have both had it. Datagrams are divided among sockets that have it, so they get on without.
    if (r < 0 && errno == EADDRINUSE && entry.type() == SOCK_STREAM) {
        TRY(lend(context, fd, entry, SO_REUSEPORT, "SO_REUSEPORT"));
        r = call();
    }
    // A tree that was not killed by its dump has left its connections in TIME_WAIT.
    if (r < 0 && errno == EADDRINUSE && TRY(kernel::destroy_remains(static_cast<uint16_t>(entry.src_port()))))
        r = call();
    return r;
}

struct FreeBind {
    int level, name;
    const char *text;
};

FreeBind free_bind_of(int family) {
    return family == AF_INET6 ? FreeBind{SOL_IPV6, IPV6_FREEBIND, "IPV6_FREEBIND"}
                              : FreeBind{SOL_IP, IP_FREEBIND, "IP_FREEBIND"};
}

/// CRIU writes nothing about it, and binds every socket freely.
bool may_be_foreign(const img::inet_sk_entry &entry) {
    return !entry.ext().has_foreign_address() || entry.ext().foreign_address();
}

/// Binds to an address that no interface has.
Result<int> bind_freely(FileOpenContext &context, int fd, const img::inet_sk_entry &entry, const Endpoint &local) {
    const FreeBind option = free_bind_of(local.family);
    const SocketAddress address = to_sockaddr(local);
    TRY(set_int_option(fd, option.level, option.name, 1, option.text));
    const int r = TRY(take_port(context, fd, entry, [&] { return bind(fd, address.get(), address.length); }));
    const int error = errno;
    if (r == 0 && !entry.ext().foreign_address())
        context.log.warn(fmt::format("file {}: {} is an address of no interface here", entry.id(), to_text(local)));
    TRY(set_int_option(fd, option.level, option.name, 0, option.text));
    errno = error;
    return r;
}

/// An address that every host has is not asked for.
bool is_everywhere(const Endpoint &local) {
    const Endpoint plain = local.unmapped();
    if (plain.family == AF_INET)
        return plain.any() || plain.address[0] == 127;
    const Endpoint loopback{.family = AF_INET6, .address = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
    return plain.any() || plain.address == loopback.address;
}

} // namespace

Result<void> dump_binding(int fd, const Endpoint &local, img::inet_sk_entry *entry) {
    if (entry->type() == SOCK_RAW || is_everywhere(local))
        return {};
    const FreeBind option = free_bind_of(local.family);
    const bool free_now = int_option(fd, option.level, option.name) != 0 ||
                          int_option(fd, local.family == AF_INET6 ? SOL_IPV6 : SOL_IP,
                                     local.family == AF_INET6 ? IPV6_TRANSPARENT : IP_TRANSPARENT) != 0;
    if (free_now)
        return {};
    // Whether an address is one of ours is what a bind of another socket tells, without a port.
    base::UniqueFd probe(socket(local.family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!probe)
        return base::fail_sys("socket");
    Endpoint wanted = local;
    wanted.port = 0;
    const SocketAddress address = to_sockaddr(wanted);
    const bool ours = bind(probe.get(), address.get(), address.length) == 0 || errno != EADDRNOTAVAIL;
    entry->mutable_ext()->set_foreign_address(!ours);
    return {};
}

Result<void> bind_inet(FileOpenContext &context, int fd, const img::inet_sk_entry &entry, const Endpoint &local) {
    const SocketAddress address = to_sockaddr(local);
    int r = TRY(take_port(context, fd, entry, [&] { return bind(fd, address.get(), address.length); }));
    if (r < 0 && errno == EADDRNOTAVAIL && may_be_foreign(entry))
        r = TRY(bind_freely(context, fd, entry, local));
    if (r == 0)
        return {};
    auto error = base::Error::sys(fmt::format("bind to {}", to_text(local)));
    if (errno == EADDRINUSE || errno == EADDRNOTAVAIL)
        return base::fail(std::move(error.hint("the address has to exist here and its port has to be free")));
    return base::fail(std::move(error));
}

Result<void> listen_inet(FileOpenContext &context, int fd, const img::inet_sk_entry &entry) {
    const int backlog = static_cast<int>(entry.backlog());
    return TRY(take_port(context, fd, entry, [&] { return listen(fd, backlog); })) < 0 ? base::fail_sys("listen")
                                                                                       : Result<void>{};
}

Result<void> settle_binding(FileSettleContext &context, int fd, const img::inet_sk_entry &entry) {
    if (!context.kept.of<Sharing>().lent.contains(entry.id()))
        return {};
    TRY(set_int_option(fd, SOL_SOCKET, SO_REUSEADDR, entry.opts().reuseaddr() ? 1 : 0, "SO_REUSEADDR"));
    return set_int_option(fd, SOL_SOCKET, SO_REUSEPORT, entry.opts().so_reuseport() ? 1 : 0, "SO_REUSEPORT");
}

} // namespace resource
