#include "criu/resource/task/call_view.hh"

#include <algorithm>
#include <sys/syscall.h>

namespace resource {
namespace {

struct CallOf32 {
    uint64_t number, of_64;
    TimeWidth width;
};
// Ascending: of two, the one of wide times is the later one.
constexpr std::array kCallsOf32{
    CallOf32{0, SYS_restart_syscall, TimeWidth::Wide},
    CallOf32{162, SYS_nanosleep, TimeWidth::Narrow},
    CallOf32{168, SYS_poll, TimeWidth::Wide},
    CallOf32{240, SYS_futex, TimeWidth::Narrow},
    CallOf32{267, SYS_clock_nanosleep, TimeWidth::Narrow},
    CallOf32{407, SYS_clock_nanosleep, TimeWidth::Wide},
    CallOf32{422, SYS_futex, TimeWidth::Wide},
};

} // namespace

CallView view_of(compel::Registers &r, uint64_t number) {
    if (!compel::is_32bit(r))
        return {number, {&r.rdi, &r.rsi, &r.rdx, &r.r10, &r.r8, &r.r9}};
    CallView call{kOtherCall, {&r.rbx, &r.rcx, &r.rdx, &r.rsi, &r.rdi, &r.rbp}};
    if (const auto known = std::ranges::find(kCallsOf32, number, &CallOf32::number); known != kCallsOf32.end()) {
        call.number = known->of_64;
        call.width = known->width;
    }
    return call;
}

uint64_t number_in_mode(uint64_t number, const compel::Registers &registers) {
    if (!compel::is_32bit(registers))
        return number;
    const auto known = std::ranges::find(kCallsOf32.rbegin(), kCallsOf32.rend(), number, &CallOf32::of_64);
    return known == kCallsOf32.rend() ? kOtherCall : known->number;
}

} // namespace resource
