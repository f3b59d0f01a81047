// The network is locked for the connections of a tree from its dump until it runs again.
#pragma once

#include "base/ids.hh"
#include "base/log.hh"
#include "base/unique_fd.hh"
#include "criu/engine/restore/context.hh"
#include "criu/kernel/network_lock.hh"
#include "criu/plan/checkpoint.hh"
#include "criu/resource/file/options.hh"

#include <span>
#include <string>
#include <vector>

namespace restore {

using base::Result;

class NetworkLock {
public:
    /// Finds the lock that the dump left, or locks: a packet for a socket that does not exist yet would reset its
    /// connection. A lock of our own goes when the restore fails, that of the dump stays for the next try.
    static Result<NetworkLock> take(const plan::Checkpoint &checkpoint, const resource::FileOptions &options,
                                    const GivenNamespaces &given, base::Log &log);
    /// The same in a network namespace of the tree's own (a fresh one: as soon as it has links, others can send to it),
    /// or in one that was given. `root`: a task that lives there.
    Result<void> take_inside(const RestoreContext &context, base::Pid root);
    /// Deletes the lock.
    Result<void> unlock(const RestoreContext &context);

private:
    Result<void> take_here(const plan::Checkpoint &checkpoint, std::span<const kernel::Connection> connections,
                           base::Log &log);
    Result<void> unlock_below(const RestoreContext &context) const;
    std::vector<std::string> tables_; ///< names that the lock may have; empty: nothing is locked
    kernel::HeldNetworkLock own_;     ///< keeps a lock of our own
    bool inside_ = false;             ///< it is in the root task's network namespace, which is not ours
};

/// In a thread of the root task that has just made a network namespace for tasks below it: locks it as well. The lock
/// stays when its maker has ended, and goes with the namespace if the restore fails.
Result<void> lock_network_below(const RestoreContext &context, uint32_t id);

} // namespace restore
