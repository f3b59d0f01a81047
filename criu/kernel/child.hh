// Short-lived children: for probes that would change the calling process or need a tracee, and for what must not be cut
// off in the middle.
#pragma once

#include "base/ids.hh"
#include "base/result.hh"

#include <functional>
#include <sys/types.h>

namespace kernel {

using base::Result;

/// Runs `body` in a forked child and waits. The child's answer is an errno: 0 = fine. Only what is safe after fork in
/// a program of one thread may be done there.
Result<void> in_child(const char *what, int (*body)());

/// Runs `body` to its end even if the caller is killed meanwhile: in a process of its own that shares memory and
/// descriptors with the caller, who waits. For moments: nothing but a kill of both ends it early.
/// Errors: those of `body`; System.
Result<void> run_to_end(const std::function<Result<void>()> &body);

/// Runs `body` in a process that is nobody's child, in a session of its own: whoever collects all of its own does not
/// meet it. It has copies of everything of the caller's, and ends with `body`. Returns its pid. Errors: System.
Result<base::Pid> fork_apart(const std::function<void()> &body);

/// Waits for a child and returns its exit code. Errors: Unsupported if a signal ended it.
Result<int> exit_code(pid_t pid);

/// A sleeping child under PTRACE_SEIZE, stopped. Killed and reaped when it goes.
class Tracee {
public:
    static Result<Tracee> start();
    Tracee(Tracee &&other) noexcept : pid_(other.pid_) { other.pid_ = -1; }
    Tracee(const Tracee &) = delete;
    Tracee &operator=(const Tracee &) = delete;
    Tracee &operator=(Tracee &&) = delete;
    ~Tracee();
    pid_t pid() const { return pid_; }

private:
    explicit Tracee(pid_t pid) : pid_(pid) {}
    pid_t pid_;
};

} // namespace kernel
