// What a lazy restore and its daemon have agreed on: CRIU's protocol of lazy-pages.socket.
#pragma once

#include <cstdint>

namespace pages {

/// In the work directory of both.
inline constexpr const char *kLazySocketName = "lazy-pages.socket";
/// The last word of the restore: the tasks are about to run.
inline constexpr uint32_t kLazyAllSent = 0x52535446;

} // namespace pages
