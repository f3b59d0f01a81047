// Numbers of the namespaces that all tasks share with the tool, as the images name them. CRIU's order: its restore
// finds a namespace by its number alone.
#pragma once

#include <cstdint>

namespace tree {

inline constexpr uint32_t kPidNamespace = 1, kNetNamespace = 2, kIpcNamespace = 3, kUtsNamespace = 4,
                          kTimeNamespace = 5, kMntNamespace = 6, kUserNamespace = 7, kCgroupNamespace = 8;

} // namespace tree
