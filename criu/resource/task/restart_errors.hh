// The kernel's own error numbers of system calls that a stop has cut off (include/linux/errno.h of the kernel): they
// never reach a program, but its tracer sees them.
#pragma once

#include <cstdint>

namespace resource {

constexpr uint32_t kRestartSys = 512, kRestartNoIntr = 513, kRestartNoHand = 514, kRestartBlock = 516;

/// What the register of the result holds of a call that was cut off by `error`.
constexpr uint64_t cut_off_by(uint32_t error) {
    return -uint64_t{error};
}

} // namespace resource
