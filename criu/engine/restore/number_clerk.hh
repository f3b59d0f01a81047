// Numbers for processes that nobody who makes them may number.
//
// clone3 takes numbers only from who has rights over the pid namespace they are for. A tree with a user namespace of
// its own in the tool's pid namespace has none. Who lives in a user namespace below the root task's has them inside of
// it; what its children are called outside (VPid) is chosen by a process that lives in the root task's pid namespace
// and has the rights: it says which number was given out last
// (/proc/sys/kernel/ns_last_pid), and the next process gets the one behind. Another one may come in between: then the
// child goes again, and so on.
#pragma once

#include "criu/engine/restore/context.hh"

namespace restore {

using base::Result;

class NumberClerk {
public:
    /// Whether anybody needs one.
    static bool is_needed(const RestoreContext &context);
    /// In the coordinator, when the root task is there.
    static Result<NumberClerk> start(RestoreContext &context);
    NumberClerk(NumberClerk &&other) noexcept : pid_(std::exchange(other.pid_, 0)) {}
    NumberClerk &operator=(NumberClerk &&) = delete;
    ~NumberClerk();

private:
    explicit NumberClerk(pid_t pid) : pid_(pid) {}
    pid_t pid_;
};

/// Whether the numbers of all tasks can be chosen. Errors: Unsupported.
Result<void> check_numbers(const plan::Checkpoint &checkpoint);

} // namespace restore
