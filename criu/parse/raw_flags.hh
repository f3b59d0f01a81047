// The flags of a mapping as the kernel keeps them. Their numbers are no promise of the kernel's: whoever uses this has
// to try it first on mappings whose flags he knows.
#pragma once

#include "criu/parse/maps.hh"

#include <optional>

namespace parse {

/// What smaps would print for vm_area_struct::vm_flags on x86. Nothing where a bit is not known to be what it was in
/// all kernels from 5.16 to 6.18, or where the flags do not tell all that smaps does (huge pages of hugetlbfs).
std::optional<VmFlags> flags_of_raw(uint64_t raw);

} // namespace parse
