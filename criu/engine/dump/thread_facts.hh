// What the tracer alone knows of a stopped thread.
#pragma once

#include "compel/remote_memory.hh"
#include "criu/tree/facts.hh"

namespace dump {

using base::Result;

/// A thread inside of a restartable sequence (rseq) is moved to the end of it. `memory`: of its process.
Result<tree::ThreadFacts> what_ptrace_tells(const compel::FrozenThread &frozen, const compel::RemoteMemory &memory);

} // namespace dump
