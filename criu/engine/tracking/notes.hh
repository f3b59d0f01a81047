// What a dump knows of writes to the memory of a tree, and how it leaves that to the next one.
#pragma once

#include "base/log.hh"
#include "criu/engine/request.hh"
#include "criu/engine/tracking/tracker.hh"
#include "criu/engine/tracking/watch.hh"

#include <map>
#include <optional>

namespace tracking {

class Notes {
public:
    /// Looks for what an earlier dump has left. Whatever cannot be had is said in the log, and is no error: the dump is
    /// a full one then. `method`: none for a dump that neither builds on one nor is built on.
    static Notes open(Identity root, std::optional<engine::TrackMethod> method, base::Log &log);

    /// Writes are noted by write protection, for as long as we are here. Errors: Unsupported.
    Result<void> protect_for_one_dump();
    /// How writes are noted here.
    pages::Notes way() const { return way_; }
    /// Whether the notes of write protection are those since the dump `run_id`.
    bool are_since(const std::string &run_id) const { return !run_id.empty() && state_.run_id == run_id; }
    /// The descriptor for the task; -1 for none.
    int uffd_of(const Identity &task) const;
    void keep(const Identity &task, base::UniqueFd uffd);
    void forget(const Identity &task);
    /// Forgets all others.
    void keep_only(const std::vector<Identity> &tasks);

    /// The notes are about to be taken: until leave() no other dump may rely on them any more.
    Result<void> begin_taking();
    /// The notes from now on are those since the dump `run_id`.
    Result<void> leave(const std::string &run_id);
    /// Takes everything back.
    Result<void> end();

private:
    Notes() = default;
    pages::Notes way_ = pages::Notes::None;
    std::optional<Tracker> tracker_;
    State state_;
};

/// `criu untrack`: ends the tracker of the tree, if there is one. Errors: Died if there is no such process.
Result<void> untrack(base::Pid root);

/// Who the task is.
Identity identity_of(const tree::TaskFacts &task);
/// Errors: Died if there is no such process.
Result<Identity> identity_of(base::Pid pid);

} // namespace tracking
