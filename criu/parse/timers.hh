// /proc/PID/timers: the POSIX timers of a process, without their times (those only timer_gettime tells).
#pragma once

#include "criu/parse/result.hh"

#include <cstdint>
#include <string_view>
#include <vector>

namespace parse {

enum class TimerNotify : uint8_t { Signal = 0, None = 1, Thread = 2 }; ///< SIGEV_*

struct PosixTimer {
    int32_t id = 0;
    int32_t signo = 0;
    uint64_t sigval = 0; ///< sigev_value
    TimerNotify notify = TimerNotify::Signal;
    bool to_thread = false; ///< SIGEV_THREAD_ID: `target` is a thread
    int32_t target = 0;     ///< pid or tid in the reader's pid namespace
    int32_t clock_id = 0;
    bool operator==(const PosixTimer &) const = default;
};

Result<std::vector<PosixTimer>> parse_timers(std::string_view text);

} // namespace parse
