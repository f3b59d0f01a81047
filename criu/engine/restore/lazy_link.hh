// The restore's side of a lazy restore: each task makes a userfaultfd of its memory, and the daemon (criu lazy-pages)
// gets all of them over one socket in the work directory, before the tasks run.
#pragma once

#include "base/unique_fd.hh"
#include "criu/engine/restore/rendezvous.hh"
#include "criu/plan/checkpoint.hh"

namespace restore {

class LazyLink {
public:
    /// Errors: System if there is no daemon; Unsupported if this kernel cannot follow what the tasks do meanwhile.
    static Result<LazyLink> connect();

    // ---- tasks
    /// Makes the userfaultfd of the calling process, sends it, and keeps a descriptor for the agent: its number, at
    /// least `from`. Errors: System.
    Result<int> hand_over(uint32_t pid, int from, Rendezvous &rendezvous) const;

    // ---- coordinator
    /// The daemon counts zombies as well.
    Result<void> tell_of_dead(const plan::Checkpoint &checkpoint, Rendezvous &rendezvous) const;
    /// The tasks are about to run: memory may be brought that nobody has asked for yet. That the daemon has gone shows
    /// here at the latest.
    Result<void> begin() const;

private:
    LazyLink(base::UniqueFd socket, uint64_t features) : socket_(std::move(socket)), features_(features) {}
    Result<void> send(const void *bytes, size_t size) const;

    base::UniqueFd socket_;
    uint64_t features_; ///< of userfaultfd
};

} // namespace restore
