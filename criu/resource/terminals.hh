// Masters of pseudo terminals that had to be opened ahead: a terminal that is bound into the tree's mounts
// (/dev/console) has to be there before these are put together, and before any file of the tree is opened.
#pragma once

#include "base/unique_fd.hh"

#include <cstdint>
#include <map>

namespace resource {

using Masters = std::map<uint32_t, base::UniqueFd>; ///< by the number of the terminal

} // namespace resource
