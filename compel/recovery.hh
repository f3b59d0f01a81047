// Threads that are on their way out of the agent of a tool that was killed.
//
// They find their way by themselves (injection.hh), but that takes a moment, during which their registers, signal masks
// and memory are not the program's. Whoever stops them then has to know it, and let them come to the end of it.
#pragma once

#include "compel/ptrace.hh"
#include "compel/remote_memory.hh"

#include <set>

namespace compel {

/// Tells such threads of one process from others.
class AgentSpotter {
public:
    static Result<AgentSpotter> open(Pid pid);
    /// Whether these are registers of a thread inside the agent or the boot code, or that has just left them.
    bool inside(const Registers &registers);

private:
    explicit AgentSpotter(RemoteMemory memory) : memory_(std::move(memory)) {}
    bool in_agent(uint64_t rip) const;
    bool in_boot_code(uint64_t rip) const;
    bool about_to_restart(const Registers &registers) const;

    RemoteMemory memory_;
    std::set<uint64_t> outside_; ///< instruction pointers that were looked at
};

/// A stopped thread and its place; those of one process share a spotter.
struct RecoveringThread {
    StoppedThread thread;
    AgentSpotter *spotter;
};

/// Lets the threads run until they are out, and stops them again. They stay traced: nothing else of their processes
/// has to run meanwhile, and stopped processes (SIGSTOP) get out too.
/// Errors: System(ETIMEDOUT), naming a thread that did not come out within `timeout_ms` (-1: no limit). Threads that
/// end are left out.
Result<void> finish_recovery(std::vector<RecoveringThread> threads, int timeout_ms);

/// Where the agent's blob starts with the bytes at `address`.
bool is_agent(const RemoteMemory &memory, uint64_t address);

} // namespace compel
