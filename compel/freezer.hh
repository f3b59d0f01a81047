// Stopping a whole process tree and letting it go again.
//
// All threads are seized, then all are interrupted, then all are waited for: the stops overlap, so that a thousand
// threads take milliseconds. The tree is scanned again until a scan finds nothing new: a stopped thread makes no
// children, so the scans converge.
//
// A system call that is cut off by the stop and that the kernel would end with EINTR (epoll_wait, sigtimedwait, ...) is
// set up to be issued again, so that the tasks never notice.
//
// Threads that are on their way out of the agent of a dump that was killed come to the end of it first.
#pragma once

#include "compel/ptrace.hh"

#include <functional>
#include <optional>
#include <span>

namespace compel {

struct FrozenThread {
    Pid tid;
    Registers registers; ///< as they must be when the thread goes on
    /// Off while the tree is frozen: it would turn the agent's calls into signals. On again before the thread goes on.
    std::optional<SyscallDispatch> dispatch{};
};

struct FrozenProcess {
    Pid pid;
    Pid parent;                        ///< as /proc says
    Pid parent_thread;                 ///< that has forked it, 0 for the leader or where the kernel does not tell
    std::vector<FrozenThread> threads; ///< leader first
    bool zombie = false;               ///< no threads then
    bool leader_ended = false;         ///< while others live: these are `threads`
    bool group_stopped = false;        ///< by SIGSTOP and the like, before we came
    int stop_signal = 0;
};

struct FreezeOptions {
    int timeout_ms = 10'000; ///< for the whole tree
    uint64_t ptrace_options = 0;
    bool suspend_dispatch = true; ///< false: FrozenThread::dispatch is noted only, and no agent may be injected
    /// Processes that belong to the tree although none of it has made them. Asked at each scan.
    std::function<std::vector<Pid>()> put_in{};
    /// Called with threads that are seized and still run, right before they are interrupted.
    std::function<void(std::span<const Pid>)> before_stop{};
    /// Called when threads were interrupted, before they are waited for: those that a control group holds still have to
    /// be let go to get there.
    std::function<void()> before_wait{};
};

/// A stopped tree. Ends with thaw(), or with the destructor, which lets every thread go on.
class FrozenTree {
public:
    /// Stops `root` and all its descendants. On failure everything that was stopped goes on.
    /// Errors: Died (root is gone), System(EPERM: not allowed to trace, or traced already; ETIMEDOUT: a thread does not
    /// stop, for example in uninterruptible sleep), Busy (a thread never leaves vfork), each naming the task.
    static Result<FrozenTree> freeze(Pid root, const FreezeOptions &options);
    FrozenTree(FrozenTree &&other) noexcept : processes_(std::move(other.processes_)) { other.processes_.clear(); }
    FrozenTree &operator=(FrozenTree &&) = delete;
    ~FrozenTree() { (void)thaw(); }

    /// Parents before children.
    const std::vector<FrozenProcess> &processes() const { return processes_; }

    /// Lets all threads go on. A thread that died meanwhile is no error.
    Result<void> thaw();
    /// Stops every process with SIGSTOP, then lets it go: it stays stopped until SIGCONT.
    Result<void> leave_stopped();
    /// Ends every process with SIGKILL and waits until it is gone or a zombie.
    Result<void> kill();

private:
    FrozenTree() = default;
    struct Unstopped;
    Result<std::vector<Unstopped>> seize_new(Pid root, const FreezeOptions &options);
    static void announce(std::span<const Unstopped> added, const FreezeOptions &options);
    Result<void> await_stop(const Unstopped &what, const FreezeOptions &options);
    Result<void> let_recover(const FreezeOptions &options);
    Result<void> stop_all(Pid root, const FreezeOptions &options);
    std::vector<FrozenProcess> processes_;
};

} // namespace compel
