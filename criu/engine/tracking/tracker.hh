// The tracker: a process of ours that stays between two dumps of a tree and holds what makes the kernel note writes.
//
// A userfaultfd in asynchronous write-protect mode belongs to the address space that has made it, and works for as long
// as somebody holds its descriptor. In the tree's own tables it would be seen, inherited and closed; so nobody but the
// tracker has it. When the tracker ends, the kernel takes the protection back by itself, and the next dump is a full
// one. With the descriptors it remembers which dump the notes are about: that of `run_id`.
//
// It is found by its socket, whose name says the root of the tree and when that was started. Neither side talks to
// another user.
#pragma once

#include "base/ids.hh"
#include "base/result.hh"
#include "base/unique_fd.hh"

#include <string>
#include <vector>

namespace tracking {

using base::Pid;
using base::Result;

/// A process, and nobody else who has had its number.
struct Identity {
    Pid pid{0};
    uint64_t start = 0; ///< clock ticks since boot
    bool operator==(const Identity &) const = default;
};

/// A process whose writes are noted.
struct Tracked {
    Identity task;
    base::UniqueFd uffd;
};

struct State {
    std::string run_id; ///< of the dump since which the notes are; empty: of none
    std::vector<Tracked> tasks;
};

/// A connection to the tracker of a tree, or to none.
class Tracker {
public:
    /// Looks for it. That there is none is no error.
    static Result<Tracker> find(Identity root);

    bool found() const { return static_cast<bool>(socket_); }
    /// What it holds; the descriptors are copies of its own.
    Result<State> read() const;
    /// The notes are going to be taken: whatever happens before replace(), it knows nothing about any dump.
    Result<void> invalidate() const;
    /// It goes on with this state. Where there is none it is started.
    Result<void> replace(const State &state);
    /// Ends it: everything is as if it had not been when this returns.
    Result<void> end();

private:
    explicit Tracker(Identity root) : root_(root) {}
    Result<void> start(const State &state) const;

    Identity root_;
    base::UniqueFd socket_;
};

} // namespace tracking
