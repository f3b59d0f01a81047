// Connections of unix sockets. An accepted socket shares its listener's address: it is accepted from that listener
// again, or from one that lives just as long. Pairs without names come from socketpair(2). Both ends remember
// processes: the client who called listen(2), the accepted one who called connect(2).
#include "criu/resource/socket/unix/unix_restore.hh"

#include <algorithm>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

namespace resource {
namespace {

constexpr size_t kBatch = 64; // connections that wait at a time: less than /proc/sys/net/core/somaxconn

/// Two ends, one of which may be gone.
struct Connection {
    UnixNode *client = nullptr, *server = nullptr;
    std::string listener_name; ///< empty: socketpair
    const img::unix_sk_entry *accepted = nullptr;
    Identity who_listened, who_connected;

    base::UniqueFd &client_fd() { return client ? client->made : server->gone; }
    base::UniqueFd &server_fd() { return server ? server->made : client->gone; }
};

/// Sockets with the same address: the same name bound to the same file, as far as the image tells.
using AddressKey = std::tuple<uint32_t, std::string, uint64_t, uint64_t>;

AddressKey address_key(const img::unix_sk_entry &entry, const std::string &name) {
    const bool own = entry.name() == name;
    return {entry.type(), name, own ? entry.ext().file_dev() : 0, own ? entry.ext().file_ino() : 0};
}

Result<SharedNumbers> make_socketpairs(base::Log &log, const Identity &identity, int type, size_t count) {
    auto numbers = TRY(SharedNumbers::make(count * 2));
    TRY(run_as(log, identity, [&]() -> Result<void> {
        for (size_t i = 0; i < count; i++)
            if (socketpair(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, &numbers[2 * i]) < 0)
                return base::fail_sys("socketpair");
        return {};
    }));
    return numbers;
}

class ConnectionMaker {
public:
    ConnectionMaker(base::Log &log, UnixRestoreState &state) : log_(log), state_(state) {
        for (auto &[inode, node] : state.nodes)
            if (!node.external() && node.entry->state() == kUnixListening)
                listeners_.emplace(address_key(*node.entry, node.entry->name()), node.fd());
    }

    Result<void> make_all() {
        for (auto &[inode, node] : state_.nodes)
            TRY(plan(node));
        TRY(bind_clients());
        TRY(make_listeners());
        TRY(make_pairs());
        return make_connections();
    }

private:
    bool has_listener(const img::unix_sk_entry &entry) const {
        return listeners_.contains(address_key(entry, entry.name()));
    }

    /// Who of the two was accepted: the one that has the address of a listener, or an address at all.
    void assign(UnixNode &one, UnixNode &other) {
        const std::string &a = one.entry->name(), &b = other.entry->name();
        const bool one_accepted = a.empty() ? false : b.empty() || !has_listener(*other.entry);
        Connection connection;
        connection.server = one_accepted ? &one : &other;
        connection.client = one_accepted ? &other : &one;
        connection.accepted = connection.server->entry;
        connection.listener_name = connection.accepted->name();
        plan_identities(connection);
        connections_.push_back(std::move(connection));
    }

    void assign_widow(UnixNode &node) {
        const UnixNode *outsider = state_.find(node.entry->peer());
        const std::string &peer = outsider ? outsider->entry->name() : node.entry->ext().peer_name();
        const std::string &own = node.entry->name();
        Connection connection;
        const bool accepted = !own.empty() && (peer.empty() || has_listener(*node.entry));
        (accepted ? connection.server : connection.client) = &node;
        connection.accepted = node.entry;
        // Its peer's own abstract name may be somebody else's by now.
        connection.listener_name = accepted ? own : is_path(peer) ? peer : std::string();
        plan_identities(connection);
        connections_.push_back(std::move(connection));
    }

    void plan_identities(Connection &connection) {
        auto of = [](const UnixNode *node) {
            const bool present = node && node->entry->ext().has_peer_creds();
            return identity_of(present, present ? node->entry->ext().peer_creds() : img::ext_credentials());
        };
        connection.who_listened = of(connection.client ? connection.client : connection.server);
        connection.who_connected = of(connection.server ? connection.server : connection.client);
    }

    Result<void> plan(UnixNode &node) {
        const img::unix_sk_entry &entry = *node.entry;
        if (node.external() || node.is(SOCK_DGRAM) || entry.state() != kUnixEstablished || node.made)
            return {};
        UnixNode *peer = entry.peer() ? state_.find(entry.peer()) : nullptr;
        if (entry.peer() && !peer)
            return base::bad_image(
                fmt::format("files.img: unix socket {} has the peer {}, which is missing", entry.ino(), entry.peer()));
        if (!peer || peer->external()) {
            assign_widow(node);
            return {};
        }
        if (peer->entry->state() == kUnixListening)
            return {}; // waits to be accepted
        if (peer->entry->peer() != entry.ino() || peer->entry->type() != entry.type() || peer == &node)
            return base::bad_image(
                fmt::format("files.img: unix sockets {} and {} are not a pair", entry.ino(), peer->entry->ino()));
        if (entry.ino() < peer->entry->ino())
            assign(node, *peer);
        return {};
    }

    Result<void> bind_clients() {
        std::vector<BindJob> jobs;
        for (Connection &connection : connections_) {
            if (connection.listener_name.empty())
                continue;
            connection.client_fd() = TRY(new_unix_socket(connection.accepted->type()));
            UnixNode *client = connection.client;
            if (client && !client->entry->name().empty()) {
                jobs.push_back({client->made.get(), client->entry->name(), client->entry});
                client->bound = true;
            }
        }
        return bind_unix_sockets(state_, jobs);
    }

    AddressKey listener_of(const Connection &connection) const {
        return address_key(*connection.accepted, connection.listener_name);
    }

    /// Listeners that are gone, for as long as it takes.
    Result<void> make_listeners() {
        std::vector<BindJob> jobs;
        for (const Connection &connection : connections_) {
            if (connection.listener_name.empty() || listeners_.contains(listener_of(connection)))
                continue;
            base::UniqueFd fd = TRY(new_unix_socket(connection.accepted->type()));
            jobs.push_back({fd.get(), connection.listener_name, nullptr});
            listeners_.emplace(listener_of(connection), fd.get());
            temporary_.push_back(std::move(fd));
        }
        return bind_unix_sockets(state_, jobs);
    }

    using Group = std::vector<Connection *>;

    Result<void> make_pairs() {
        std::map<std::pair<Identity, uint32_t>, Group> groups;
        for (Connection &connection : connections_)
            if (connection.listener_name.empty())
                groups[{connection.who_listened, connection.accepted->type()}].push_back(&connection);
        for (auto &[key, group] : groups) {
            auto numbers = TRY(make_socketpairs(log_, key.first, static_cast<int>(key.second), group.size()));
            for (size_t i = 0; i < group.size(); i++) {
                group[i]->client_fd().reset(numbers[2 * i]);
                group[i]->server_fd().reset(numbers[2 * i + 1]);
            }
        }
        return {};
    }

    Result<void> make_connections() {
        std::map<std::tuple<AddressKey, Identity, Identity>, Group> groups;
        for (Connection &connection : connections_)
            if (!connection.listener_name.empty())
                groups[{listener_of(connection), connection.who_listened, connection.who_connected}].push_back(
                    &connection);
        for (auto &[key, group] : groups) {
            const int listener = listeners_.at(std::get<0>(key));
            TRY(run_as(log_, std::get<1>(key), [&]() -> Result<void> {
                return listen(listener, kBatch) < 0 ? base::fail_sys("listen") : Result<void>();
            }));
            const UnixTarget target = TRY(UnixTarget::of(listener));
            for (size_t begin = 0; begin < group.size(); begin += kBatch) {
                const std::span batch(group.data() + begin, std::min(kBatch, group.size() - begin));
                TRY(run_as(log_, std::get<2>(key), [&]() -> Result<void> {
                    for (Connection *connection : batch)
                        TRY(target.connect(connection->client_fd().get()));
                    return {};
                }));
                TRY(accept_all(listener, batch));
            }
        }
        return {};
    }

    static Result<void> accept_all(int listener, std::span<Connection *const> batch) {
        for (Connection *connection : batch) {
            connection->server_fd().reset(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
            if (!connection->server_fd())
                return base::fail_sys("accept");
        }
        return {};
    }

    base::Log &log_;
    UnixRestoreState &state_;
    std::map<AddressKey, int> listeners_;
    std::vector<base::UniqueFd> temporary_;
    std::vector<Connection> connections_;
};

// ---- connections that wait -----------------------------------------------------------------------------------------

/// Clients by the listener that they wait at.
using Clients = std::multimap<uint32_t, UnixNode *>;

Clients waiting_clients(UnixRestoreState &state) {
    Clients clients;
    for (auto &[inode, node] : state.nodes)
        if (!node.external() && !node.is(SOCK_DGRAM) && node.entry->state() == kUnixEstablished && !node.made)
            clients.emplace(node.entry->peer(), &node);
    return clients;
}

void collect_waiting(UnixRestoreState &state, UnixNode &listener, const Clients &clients) {
    for (const img::ext_unix_pending &one : listener.entry->ext().pending()) {
        WaitingClient waiting{.listener = &listener, .pending = &one};
        UnixNode *client = one.client() ? state.find(one.client()) : nullptr;
        waiting.client = client && !client->external() ? client : nullptr;
        state.waiting.push_back(std::move(waiting));
    }
    if (listener.entry->ext().pending_size())
        return;
    // CRIU does not tell their order.
    auto [begin, end] = clients.equal_range(listener.entry->ino());
    for (auto it = begin; it != end; ++it)
        state.waiting.push_back({.listener = &listener, .client = it->second});
}

/// Sockets of the clients, with their own names.
Result<void> make_clients(UnixRestoreState &state) {
    std::vector<BindJob> jobs;
    for (WaitingClient &waiting : state.waiting) {
        base::UniqueFd &fd = waiting.client ? waiting.client->made : waiting.gone;
        fd = TRY(new_unix_socket(waiting.listener->entry->type()));
        if (waiting.client && !waiting.client->entry->name().empty()) {
            jobs.push_back({fd.get(), waiting.client->entry->name(), waiting.client->entry});
            waiting.client->bound = true;
        }
        if (waiting.pending && is_path(waiting.pending->client_name()))
            jobs.push_back({fd.get(), waiting.pending->client_name(), nullptr});
    }
    return bind_unix_sockets(state, jobs);
}

Result<void> connect_clients(base::Log &log, UnixRestoreState &state) {
    for (WaitingClient &waiting : state.waiting) {
        const bool known = waiting.pending && waiting.pending->has_creds();
        const Identity identity = identity_of(known, known ? waiting.pending->creds() : img::ext_credentials());
        const UnixTarget target = TRY(UnixTarget::of(waiting.listener->fd()));
        TRY(run_as(log, identity, [&] { return target.connect(waiting.fd()); }));
    }
    return {};
}

} // namespace

Result<void> make_unix_connections(base::Log &log, UnixRestoreState &state) {
    return ConnectionMaker(log, state).make_all();
}

Result<void> make_unix_listeners(base::Log &log, UnixRestoreState &state) {
    std::map<Identity, std::vector<const UnixNode *>> groups;
    const Clients clients = waiting_clients(state);
    for (auto &[inode, node] : state.nodes) {
        if (node.external() || node.entry->state() != kUnixListening)
            continue;
        collect_waiting(state, node, clients);
        const img::ext_unix_sk &ext = node.entry->ext();
        groups[identity_of(ext.has_peer_creds(), ext.peer_creds())].push_back(&node);
    }
    for (auto &[identity, group] : groups)
        TRY(run_as(log, identity, [&]() -> Result<void> {
            for (const UnixNode *node : group)
                if (listen(node->fd(), static_cast<int>(node->entry->backlog())) < 0)
                    return base::fail_sys("listen");
            return {};
        }));
    TRY(make_clients(state));
    return connect_clients(log, state);
}

namespace {

/// Two datagram sockets that came from socketpair(2), or one whose peer is gone.
struct Pair {
    UnixNode *one, *other;
};

Result<std::vector<Pair>> find_pairs(UnixRestoreState &state) {
    std::vector<Pair> pairs;
    std::set<const UnixNode *> taken;
    std::set<uint32_t> peers;
    for (auto &[inode, node] : state.nodes)
        peers.insert(node.entry->peer());
    // CRIU does not tell whether there was a peer; something that waits must have come from one.
    auto had_peer = [&](const UnixNode &node) {
        return !node.entry->peer() && node.entry->name().empty() && !peers.contains(node.entry->ino()) &&
               state.queues.contains(node.id.value);
    };
    for (auto &[inode, node] : state.nodes) {
        if (!node.is(SOCK_DGRAM) || node.external() || taken.contains(&node))
            continue;
        const img::ext_unix_sk &ext = node.entry->ext();
        UnixNode *peer = node.entry->peer() ? state.find(node.entry->peer()) : nullptr;
        if (ext.peer_gone() || had_peer(node) || (peer && peer->external() && peer->entry->name().empty())) {
            pairs.push_back({&node, nullptr});
            continue;
        }
        if (!peer || peer->external())
            continue;
        const bool mutual = peer->entry->peer() == inode;
        if (!peer->entry->name().empty() && !(mutual && ext.has_peer_creds()))
            continue;
        if (!peer->is(SOCK_DGRAM) || peer == &node || !taken.insert(peer).second || !taken.insert(&node).second)
            return base::bad_image(
                fmt::format("files.img: unix sockets {} and {} are not a pair", inode, peer->entry->ino()));
        pairs.push_back({&node, peer});
    }
    return pairs;
}

} // namespace

Result<void> make_unix_datagram_pairs(base::Log &log, UnixRestoreState &state) {
    std::map<Identity, std::vector<Pair>> groups;
    for (const Pair &pair : TRY(find_pairs(state))) {
        const img::ext_unix_sk &ext = pair.one->entry->ext();
        groups[identity_of(ext.has_peer_creds(), ext.peer_creds())].push_back(pair);
    }
    std::vector<BindJob> names;
    for (auto &[identity, pairs] : groups) {
        auto numbers = TRY(make_socketpairs(log, identity, SOCK_DGRAM, pairs.size()));
        for (size_t i = 0; i < pairs.size(); i++) {
            auto [one, other] = pairs[i];
            one->made.reset(numbers[2 * i]);
            (other ? other->made : one->gone).reset(numbers[2 * i + 1]);
            one->connected = true;
            if (other)
                other->connected = other->entry->peer() == one->entry->ino();
            else if (is_path(one->entry->ext().peer_name()))
                names.push_back({one->gone.get(), one->entry->ext().peer_name(), nullptr});
        }
    }
    return bind_unix_sockets(state, names);
}

} // namespace resource
