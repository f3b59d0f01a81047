// The last part of a restore: the coordinator takes all threads, gives them their registers and lets them go.
#pragma once

#include "criu/engine/restore/context.hh"

namespace restore {

/// All threads of a restored tree, traced by the coordinator. If it goes without release(), so do they.
class RestoredThreads {
public:
    explicit RestoredThreads(const RestoreContext &context) : context_(&context) {}
    ~RestoredThreads();
    RestoredThreads(const RestoredThreads &) = delete;

    /// Attaches to all threads, while they wait for the stage Restored to open. Their seccomp filters are without
    /// effect until they are released, and they die with the coordinator.
    Result<void> seize_all();
    /// Lets those go on, on their way to the final barrier, that somebody has stopped (SIGSTOP, SIGCONT).
    void go_on() const;
    /// Stops them all at the final barrier, unmaps the arena, sets registers, extended state and signal masks.
    Result<void> prepare();
    /// Lets them go; tasks that were stopped, or all with `leave_stopped`, stay stopped.
    Result<void> release(bool leave_stopped);

private:
    Result<void> finish_group(const plan::TaskImage &maker);
    Result<void> unmap_arena(compel::StoppedThread leader);

    const RestoreContext *context_;
    std::vector<base::Pid> seized_;
};

} // namespace restore
