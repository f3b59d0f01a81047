// An interrupted system call in the registers of its thread, whatever mode that runs in.
#pragma once

#include "compel/ptrace.hh"

#include <array>

namespace resource {

/// Of the seconds and nanoseconds in a timespec.
enum class TimeWidth { Wide, Narrow };

struct CallView {
    uint64_t number = 0; ///< by the table of 64-bit programs; of a 32-bit call that has no time limit kOtherCall
    std::array<unsigned long long *, 6> arguments{}; ///< the registers that hold them
    TimeWidth width = TimeWidth::Wide;               ///< of a time that it points to
};
inline constexpr uint64_t kOtherCall = ~uint64_t{0};

/// `number`: of the call, by the table of the mode that `registers` tell.
CallView view_of(compel::Registers &registers, uint64_t number);

} // namespace resource
