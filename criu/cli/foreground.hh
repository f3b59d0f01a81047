// A restore in the foreground: criu waits for the tree as a shell waits for a job.
#pragma once

#include "criu/cli/options.hh"
#include "criu/engine/notifier.hh"
#include "criu/engine/outcome.hh"

#include "base/log.hh"
#include "base/unique_fd.hh"

#include <csignal>

namespace cli {

/// Signals that ask us to end are held from here on: the engine obeys them while everything can be undone.
class HeldSignals {
public:
    HeldSignals();
    /// Before another program takes our place, or when nothing is to be waited for.
    void release();
    /// Those that end us, less what the caller ignores.
    const sigset_t &heeded() const { return heeded_; }

private:
    sigset_t old_{}, heeded_{};
};

/// The caller's terminal, lent to a job (--shell-job) that has a process group of its own, if and only if we are in the
/// foreground ourselves. Handed back when the job stops or ends.
class JobTerminal : public engine::ScriptNotifier {
public:
    JobTerminal(kernel::Scripts scripts, bool lend) : ScriptNotifier(std::move(scripts)), lends_(lend) {}
    ~JobTerminal() override { take_back(); }

    /// Right before the tree runs it gets the terminal.
    base::Result<void> tell(const char *hook, std::optional<base::Pid> root) override;
    bool is_lent() const { return group_ > 0; }
    /// The job has stopped: we stop as well, in the foreground, so that the shell goes on. When we are continued the
    /// job is, in the foreground if we are.
    void stop_with_job();
    void take_back();

private:
    void lend(pid_t group);
    bool lends_;
    base::UniqueFd terminal_;
    pid_t group_ = 0;
};

/// Waits until all children of ours have ended, or somebody ends us: then says that the tree runs on. Returns the exit
/// code.
int wait_for_tree(const engine::RestoreOutcome &outcome, HeldSignals &signals, JobTerminal &terminal,
                  const Options &options, base::Log &log);

} // namespace cli
