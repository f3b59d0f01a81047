// Where the agent goes in a task.
#pragma once

#include "compel/injection.hh"
#include "criu/parse/maps.hh"

#include <optional>

namespace dump {

using base::Result;

/// A hole of the address space for the agent, and room for the boot code in the zero bytes behind the vdso's contents;
/// where there is no vdso (valgrind unmaps it), behind the code of a program or library. `end`: of the address space.
/// Errors: Unsupported when there is no room.
Result<compel::InjectionSite> choose_site(const std::vector<parse::Vma> &vmas, const compel::RemoteMemory &memory,
                                          size_t threads, uint64_t end);

/// Where the boot code of an earlier dump still lies in its place.
std::optional<uint64_t> left_boot_code(const std::vector<parse::Vma> &vmas, const compel::RemoteMemory &memory);

} // namespace dump
