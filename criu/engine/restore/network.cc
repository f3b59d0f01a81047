#include "criu/engine/restore/network.hh"

#include "criu/engine/restore/namespaces.hh"
#include "criu/kernel/namespaces.hh"
#include "criu/kernel/network_lock.hh"
#include "criu/resource/socket/inet/inet_address.hh"
#include "criu/resource/socket/tcp/tcp_pending.hh"
#include "criu/resource/socket/tcp/tcp_stream.hh"

#include <fmt/format.h>
#include <netinet/tcp.h>

namespace restore {
namespace {

enum LockMethod : uint32_t { kIptables, kNftables, kSkip }; // inventory_entry.network_lock_method

Result<std::vector<kernel::Connection>> connections_of(const plan::Checkpoint &checkpoint) {
    std::vector<kernel::Connection> connections;
    const std::set<uint32_t> waiting = resource::pending_clients(checkpoint.files); // they connect anew
    for (auto &[id, file] : checkpoint.files) {
        if (waiting.contains(id) || !file.has_isk() || file.isk().type() != SOCK_STREAM)
            continue;
        const img::inet_sk_entry &entry = file.isk();
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

Result<NetworkLock> NetworkLock::take(const plan::Checkpoint &checkpoint, const resource::FileOptions &options,
                                      base::Log &log) {
    NetworkLock lock;
    const img::inventory_entry &inventory = checkpoint.inventory;
    if (!is_wanted(checkpoint, options) || has_own(checkpoint, tree::NamespaceKind::Net)) // the latter is not there yet
        return lock;
    const auto connections = TRY(connections_of(checkpoint));
    if (connections.empty())
        return lock;
    if (!inventory.dump_criu_run_id().empty())
        lock.tables_.push_back(kernel::lock_table_name(inventory.dump_criu_run_id()));
    lock.tables_.push_back(old_table_name(checkpoint));
    for (const std::string &table : lock.tables_)
        if (auto locked = kernel::is_network_locked(table); locked && *locked)
            return lock;
    if (inventory.network_lock_method() == kIptables)
        log.info("network: the dump may have left rules of iptables in its chain CRIU");
    lock.own_ = TRY(kernel::HeldNetworkLock::take(lock.tables_.front(), connections));
    return lock;
}

Result<void> NetworkLock::take_inside(const plan::Checkpoint &checkpoint, const resource::FileOptions &options,
                                      base::Pid root) {
    if (!is_wanted(checkpoint, options) || !has_own(checkpoint, tree::NamespaceKind::Net))
        return {};
    const auto connections = TRY(connections_of(checkpoint));
    if (connections.empty())
        return {};
    const auto visit = TRY(kernel::NetworkVisit::enter(root));
    tables_.push_back(old_table_name(checkpoint));
    own_ = TRY(kernel::HeldNetworkLock::take(tables_.front(), connections));
    return {};
}

Result<void> NetworkLock::unlock() {
    if (tables_.empty())
        return {};
    if (own_.held())
        return own_.release();
    for (const std::string &table : tables_)
        TRY(kernel::unlock_network(table));
    return {};
}

} // namespace restore
