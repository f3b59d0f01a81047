// The agent takes some pages in the task, which are charged to the task's memory cgroup: where nothing is left there,
// the kernel would end the task for want of them.
#pragma once

#include "criu/tree/facts.hh"

#include <set>
#include <string>

namespace dump {

using base::Result;

/// The bytes that a line "Key:   123 kB" of a file in /proc tells; 0 where there is no such line. Pure.
uint64_t bytes_of(std::string_view text, std::string_view key);

/// Bytes that the memory cgroup of the task, and those above it, may still take before anything is taken back.
uint64_t memory_left(const tree::TaskFacts &task);

/// Processes that the control groups of the task let it still have.
uint64_t processes_left(const tree::TaskFacts &task);

class MemoryRoom {
public:
    /// Errors: Unsupported where the memory cgroup of the task, or one above it, has no room for the agent.
    Result<void> check(const tree::TaskFacts &task);

private:
    std::set<std::string> roomy_; ///< folders that have been looked at
};

} // namespace dump
