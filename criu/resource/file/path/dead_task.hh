// A process that lives only for as long as something of a dead task is being opened: its directory in /proc, or a pidfd
// of it. In the root task, before the tree is forked.
#pragma once

#include "base/result.hh"

#include <sys/types.h>

namespace resource {

class DeadTask {
public:
    /// `pid` 0: any. Errors: System when the pid is taken.
    static base::Result<DeadTask> create(pid_t pid);
    DeadTask(DeadTask &&other) noexcept : pid_(other.pid_) { other.pid_ = 0; }
    DeadTask &operator=(DeadTask &&) = delete;
    ~DeadTask(); ///< dies and is reaped
    pid_t pid() const { return pid_; }

private:
    explicit DeadTask(pid_t pid) : pid_(pid) {}
    pid_t pid_;
};

} // namespace resource
