// Which namespaces a task lives in, and doing something inside of them.
#pragma once

#include "base/guarded.hh"
#include "base/unique_fd.hh"
#include "criu/kernel/io.hh"
#include "criu/tree/namespaces.hh"

#include <functional>
#include <span>

namespace kernel {

/// Inode numbers of the namespaces of a process or thread. Errors: Died.
Result<tree::NamespaceInodes> namespaces_of(base::Pid pid);

/// Of the pid namespace that the next child of a thread is born into; 0 where nobody is in it yet.
uint64_t pid_namespace_of_children(base::Pid tid);

/// /proc/PID/ns/NAME: "net".
const char *name_of(tree::NamespaceKind kind);
/// CLONE_NEWNET and the like.
uint64_t clone_flag_of(tree::NamespaceKind kind);

/// A descriptor of one of the namespaces of a task.
Result<base::UniqueFd> open_namespace(base::Pid member, tree::NamespaceKind kind);
/// ... of this one, by its member.
Result<base::UniqueFd> open_namespace(const tree::Namespace &ns);

/// All that are permitted: a change of users takes them out of the effective set.
Result<void> raise_capabilities();

/// Runs `body` on a thread of its own that has entered these namespaces: no other thread's ever change. For all kinds
/// but user and pid, which a thread cannot enter (or not alone).
/// `join`: descriptors of namespaces. Errors: those of `body`; System where one may not be entered.
Result<void> inside(std::span<const int> join, const std::function<Result<void>()> &body);

/// Runs `body` in a process that is born in the pid namespace of a task, and shares memory and descriptors with the
/// caller: the kernel tells it the numbers of that namespace. Only the caller's thread may make processes meanwhile.
Result<void> inside_pids(base::Pid member, const std::function<Result<void>()> &body);

/// The calling thread in the network namespace of a task, for as long as the object lives: the sockets that it makes,
/// and what it asks the kernel about sockets, are of that namespace.
class NetworkVisit {
public:
    static Result<NetworkVisit> enter(base::Pid member);
    NetworkVisit(NetworkVisit &&) noexcept = default;
    NetworkVisit &operator=(NetworkVisit &&) = delete;
    ~NetworkVisit();

    /// Runs `body` where the thread was before: programs of the caller's.
    template <class Body> auto outside(Body &&body) {
        go(home_);
        auto outcome = body();
        go(away_);
        return outcome;
    }

private:
    NetworkVisit(base::UniqueFd home, base::UniqueFd away) : home_(std::move(home)), away_(std::move(away)) {}
    static void go(const base::UniqueFd &where);
    base::UniqueFd home_, away_;
};

} // namespace kernel
