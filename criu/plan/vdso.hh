// A vdso that came from another kernel.
//
// Programs have the addresses of its functions in their tables, so its code stays where it was, as memory like any
// other; but it reads data of a kernel that is not there any more. The entry of every function is therefore replaced
// by a jump to this kernel's function, or, where this kernel has none or the program keeps state for it that only the
// old one understands, by the system call that it stands for.
#pragma once

#include "base/result.hh"

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace plan {

struct VdsoPatch {
    uint64_t offset = 0; ///< in the old vdso
    std::vector<std::byte> code;
};

/// What has to be written into the old vdso. `theirs`, `ours`: both images, as they lie in memory; `ours_at`: where
/// the tasks will have ours. Errors: BadImage for one that cannot be read; Unsupported, naming a function that neither
/// this kernel nor a system call can stand for.
base::Result<std::vector<VdsoPatch>> plan_vdso_patches(std::string_view theirs, std::string_view ours,
                                                       uint64_t ours_at);

} // namespace plan
