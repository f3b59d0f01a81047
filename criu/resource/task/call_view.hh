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

/// `number`, one of the 64-bit table with a time limit, by the table of the mode. Of two 32-bit calls that differ in
/// the width of times that which C libraries have used since there is one.
uint64_t number_in_mode(uint64_t number, const compel::Registers &registers);

} // namespace resource
