// A process whose main thread has ended (pthread_exit in main) while others live.
//
// The kernel keeps such a leader as a zombie until the last thread has gone. The images say that it is about to end:
// it comes back at a system call instruction, with the number of exit. No restore needs to know more.
#pragma once

#include "compel/remote_memory.hh"
#include "criu/tree/facts.hh"
#include "images_pb.hh"

namespace dump {

using base::Result;

/// Splits what was asked of the thread that answered for the process, and written as if that was the leader: returns
/// the core of the leader, and leaves in `core` that of the thread.
/// Errors: Unsupported if the vdso has no system call instruction.
Result<img::core_entry> take_ended_leader(img::core_entry &core, const tree::TaskFacts &task,
                                          const compel::RemoteMemory &memory);

} // namespace dump
