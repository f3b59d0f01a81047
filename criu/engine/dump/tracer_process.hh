// A dump whose tracer is not the process that the user sees, and may kill.
//
// Mostly the agent takes itself out when its tracer dies. Two kinds of tasks cannot let it: one that is stopped does
// not run, and the seccomp filter of a sandbox, which the kernel suspends only for as long as the tracer lives, may
// kill for the calls that this takes. For their sake the dump goes on in a child, which gives up in good order when its
// parent is gone. It lives in a session and, where it may, control group of its own: a unit that is stopped, a group
// that is out of memory or killed as a whole ends the parent only. Who sends SIGKILL to both at once does harm the
// sandboxed: no process can be told to outlive that: the kernel ends the suspension of the filters with the tracer
// (__ptrace_unlink).
#pragma once

#include "base/ids.hh"
#include "base/result.hh"
#include "compel/freezer.hh"
#include "criu/engine/outcome.hh"

#include <functional>

namespace dump {

/// Whether the task needs its tracer to get rid of the agent: what shows before it is stopped.
bool needs_living_tracer(base::Pid task);
/// Whether some task of the tree does.
bool needs_living_tracer(const compel::FrozenTree &tree);

/// Runs `body` in a child and returns what it returned there. Signals that ask us to end are passed on.
/// Errors: Died if the child has ended without a word.
base::Result<engine::DumpOutcome> run_in_child(const std::function<base::Result<engine::DumpOutcome>()> &body);

} // namespace dump
