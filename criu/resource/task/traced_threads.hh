#pragma once

#include "criu/kernel/memory/kernel_memory.hh"

#include <map>

namespace resource {

using TaskAddress = uint64_t; ///< of the kernel

/// The task_structs of all threads that the calling thread traces, by number.
Result<std::map<int, TaskAddress>> traced_threads(const KernelMemory &memory);

} // namespace resource
