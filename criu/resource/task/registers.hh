// Registers of a thread: what ptrace gives and takes, and what the image holds.
#pragma once

#include "criu/resource/resource.hh"

namespace resource {

/// Fills thread_info (registers, FPU and extended state) from a stopped thread. Pure but for CPUID.
/// Errors: Unsupported for states that the image format cannot hold (AMX tiles, protection-key-like unknown components
/// in use).
Result<void> write_registers(const tree::ThreadFacts &facts, img::core_entry &core);

/// Registers for compel::StoppedThread. An interrupted system call is issued again from its first instruction.
Result<compel::Registers> read_registers(const img::core_entry &core);

/// Segments for PTRACE_SET_THREAD_AREA: those that are in use.
std::vector<user_desc> read_thread_areas(const img::core_entry &core);

/// Components of the extended state (XSAVE bits) that the task needs: marked in xstate_bv and, where the CPU lacks
/// them, with other contents than the initial ones. `supported`: what the CPU of the restore has. Pure. Errors:
/// Unsupported naming what it lacks.
Result<uint64_t> used_components(const img::user_x86_fpregs_entry &fpu, uint64_t supported);

/// Extended state for PTRACE_SETREGSET(NT_X86_XSTATE), laid out for this CPU.
/// Errors: Unsupported where a component is in use that this CPU lacks.
Result<std::vector<std::byte>> read_xstate(const img::core_entry &core);

} // namespace resource
