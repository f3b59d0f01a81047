#include "criu/engine/restore/network.hh"

#include "criu/engine/restore/namespaces.hh"
#include "criu/kernel/namespaces.hh"
#include "criu/kernel/network_lock.hh"
#include "criu/resource/socket/inet/inet_address.hh"
#include "criu/resource/socket/tcp/tcp_pending.hh"
#include "criu/resource/socket/tcp/tcp_stream.hh"

#include <algorithm>
#include <fmt/format.h>
#include <netinet/tcp.h>
#include <optional>

namespace restore {
namespace {

enum LockMethod : uint32_t { kIptables, kNftables, kSkip }; // inventory_entry.network_lock_method

/// Those of one network namespace, by the image's number.
Result<std::vector<kernel::Connection>> connections_of(const plan::Checkpoint &checkpoint, uint32_t net) {
    const uint32_t root = checkpoint.root().ids.net_ns_id();
    std::vector<kernel::Connection> connections;
    const std::set<uint32_t> waiting = resource::pending_clients(checkpoint.files); // they connect anew
    for (auto &[id, file] : checkpoint.files) {
        if (waiting.contains(id) || !file.has_isk() || file.isk().type() != SOCK_STREAM)
            continue;
        const img::inet_sk_entry &entry = file.isk();
        if ((entry.ns_id() ? entry.ns_id() : root) != net)
            continue;
        if (!resource::phase_of(entry.state()).connected && entry.state() != TCP_SYN_SENT)
            continue;
        connections.push_back(
            resource::to_connection(TRY(resource::read_local(entry)), TRY(resource::read_peer(entry))));
    }
    return connections;
}

/// Whether connections are to come back as they were, and the network to be locked meanwhile.
bool is_wanted(const plan::Checkpoint &checkpoint, const resource::FileOptions &options) {
    const img::inventory_entry &inventory = checkpoint.inventory;
    return options.tcp_established && !options.tcp_close && !inventory.tcp_close() && options.lock_network &&
           inventory.network_lock_method() != kSkip;
}

/// Before CRIU 4.2 the pid stood for the run.
std::string old_table_name(const plan::Checkpoint &checkpoint) {
    return fmt::format("CRIU-{}", checkpoint.root().pid);
}

} // namespace

Result<void> NetworkLock::take_here(const plan::Checkpoint &checkpoint, std::span<const kernel::Connection> connections,
                                    base::Log &log) {
    const img::inventory_entry &inventory = checkpoint.inventory;
    if (connections.empty())
        return {};
    if (!inventory.dump_criu_run_id().empty())
        tables_.push_back(kernel::lock_table_name(inventory.dump_criu_run_id()));
    tables_.push_back(old_table_name(checkpoint));
    for (const std::string &table : tables_)
        if (auto locked = kernel::is_network_locked(table); locked && *locked)
            return {};
    if (inventory.network_lock_method() == kIptables)
        log.info("network: the dump may have left rules of iptables in its chain CRIU");
    own_ = TRY(kernel::HeldNetworkLock::take(tables_.front(), connections));
    return {};
}

Result<NetworkLock> NetworkLock::take(const plan::Checkpoint &checkpoint, const resource::FileOptions &options,
                                      const GivenNamespaces &given, base::Log &log) {
    NetworkLock lock;
    // That of the tree is not there yet.
    if (is_wanted(checkpoint, options) && !has_own(checkpoint, tree::NamespaceKind::Net) &&
        !given.has(tree::NamespaceKind::Net))
        TRY(lock.take_here(checkpoint, TRY(connections_of(checkpoint, checkpoint.root().ids.net_ns_id())), log));
    return lock;
}

Result<void> NetworkLock::take_inside(const RestoreContext &context, base::Pid root) {
    const plan::Checkpoint &checkpoint = context.checkpoint;
    inside_ = has_own(checkpoint, tree::NamespaceKind::Net) || context.given_namespaces.has(tree::NamespaceKind::Net);
    if (!inside_ || !is_wanted(checkpoint, context.request.files))
        return {};
    const auto visit = TRY(kernel::NetworkVisit::enter(root));
    return take_here(checkpoint, TRY(connections_of(checkpoint, checkpoint.root().ids.net_ns_id())), context.log);
}

Result<void> lock_network_below(const RestoreContext &context, uint32_t id) {
    if (!is_wanted(context.checkpoint, context.request.files))
        return {};
    const auto connections = TRY(connections_of(context.checkpoint, id));
    if (connections.empty())
        return {};
    auto lock = TRY(kernel::HeldNetworkLock::take(old_table_name(context.checkpoint), connections));
    return lock.make_lasting(connections);
}

Result<void> NetworkLock::unlock_below(const RestoreContext &context) const {
    const auto ids = below(context.checkpoint, tree::NamespaceKind::Net);
    if (!is_wanted(context.checkpoint, context.request.files))
        return {};
    for (uint32_t id : ids) {
        const plan::TaskImage &member = member_of(context.checkpoint, tree::NamespaceKind::Net, id);
        const auto visit = TRY(kernel::NetworkVisit::enter(context.real_pid(member.pid)));
        TRY(kernel::unlock_network(old_table_name(context.checkpoint)));
    }
    return {};
}

Result<void> NetworkLock::unlock(const RestoreContext &context) {
    TRY(unlock_below(context));
    if (tables_.empty())
        return {};
    if (own_.held())
        return own_.release();
    std::optional<kernel::NetworkVisit> visit;
    if (inside_)
        visit.emplace(TRY(kernel::NetworkVisit::enter(context.real_root())));
    for (const std::string &table : tables_)
        TRY(kernel::unlock_network(table));
    return {};
}

} // namespace restore
