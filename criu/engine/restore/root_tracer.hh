// The hold on a root task that is not our child (--restore-sibling, or an orphan): it is traced from the beginning, so
// that it does not outlive a restore that is killed. Until it is, it waits at a gate, which also opens when we are
// gone.
#pragma once

#include "criu/engine/restore/context.hh"

namespace restore {

/// Ptrace options for the threads of a task: they die with the coordinator, and their filters are without effect.
uint64_t trace_options(const plan::TaskImage &task);

class Hold {
public:
    /// Before the root is created: makes the gate.
    Result<void> prepare(RestoreContext &context);
    /// When it was: traces it and opens the gate. Without success the root ends by itself.
    Result<void> take(RestoreContext &context);
    /// Lets the root go on if somebody has stopped it (SIGSTOP): it stays stopped for others when the restore is done.
    void go_on() const;
    /// Ends the root and waits for that.
    void end();

private:
    base::UniqueFd gate_;   ///< the end to write to
    base::UniqueFd waiter_; ///< the root's end
    base::Pid root_;        ///< once it is traced
    base::UniqueFd pidfd_;  ///< its number may have been given to another process meanwhile
};

/// In the new root: returns when it is held, does not return if the coordinator has ended.
void wait_for_hold(const RestoreContext &context);

} // namespace restore
