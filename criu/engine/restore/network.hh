// The network is locked for the connections of a tree from its dump until it runs again.
#pragma once

#include "base/ids.hh"
#include "base/log.hh"
#include "base/unique_fd.hh"
#include "criu/kernel/network_lock.hh"
#include "criu/plan/checkpoint.hh"
#include "criu/resource/file/options.hh"

#include <string>
#include <vector>

namespace restore {

using base::Result;

class NetworkLock {
public:
    /// Finds the lock that the dump left, or locks: a packet for a socket that does not exist yet would reset its
    /// connection. A lock of our own goes when the restore fails, that of the dump stays for the next try.
    static Result<NetworkLock> take(const plan::Checkpoint &checkpoint, const resource::FileOptions &options,
                                    base::Log &log);
    /// Locks a network namespace of the tree's own, which is fresh: as soon as it has links, others can send to it.
    /// `root`: a task that lives there.
    Result<void> take_inside(const plan::Checkpoint &checkpoint, const resource::FileOptions &options, base::Pid root);
    /// Deletes the lock.
    Result<void> unlock();

private:
    std::vector<std::string> tables_; ///< names that the lock may have; empty: nothing is locked
    kernel::HeldNetworkLock own_;     ///< keeps a lock of our own
};

} // namespace restore
