// State that the kernel has no call to tell of, and that is read where it lies (criu/kernel/memory/kernel_memory.hh).
#pragma once

#include "criu/kernel/memory/kernel_memory.hh"
#include "criu/resource/file/file.hh"

namespace resource {

/// Opened at the first call of a dump. Errors: Unsupported where the kernel does not let us.
Result<KernelMemory *> kernel_memory(FileDumpContext &context);
/// For a dump that has opened it before it had a context: opening takes 10 ms.
void give_kernel_memory(FileDumpContext &context, KernelMemory memory);

} // namespace resource
