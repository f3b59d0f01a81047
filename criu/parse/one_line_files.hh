// Files of one or two lines under /proc/PID that need no file of their own here.
#pragma once

#include "base/id_map.hh"
#include "criu/parse/result.hh"

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace parse {

/// /proc/PID/timens_offsets; all zero in the initial time namespace.
struct TimensOffsets {
    int64_t monotonic_sec = 0, monotonic_nsec = 0;
    int64_t boottime_sec = 0, boottime_nsec = 0;
    bool operator==(const TimensOffsets &) const = default;
};
Result<TimensOffsets> parse_timens_offsets(std::string_view text);

/// /proc/PID/uid_map, gid_map, projid_map.
Result<std::vector<base::IdExtent>> parse_id_map(std::string_view text);

/// /proc/PID/autogroup.
struct Autogroup {
    int64_t id = 0;
    int32_t nice = 0;
    bool operator==(const Autogroup &) const = default;
};
Result<Autogroup> parse_autogroup(std::string_view text);

/// /proc/PID/syscall.
struct SyscallInfo {
    bool running = false; ///< not blocked: nothing else is known
    int64_t nr = -1;      ///< -1: blocked, but not in a system call
    std::array<uint64_t, 6> args{};
    uint64_t sp = 0, pc = 0;
    bool operator==(const SyscallInfo &) const = default;
};
Result<SyscallInfo> parse_syscall(std::string_view text);

/// /proc/PID/auxv: pairs of words up to and with AT_NULL.
Result<std::vector<uint64_t>> parse_auxv(std::string_view bytes);

/// A file holding one decimal number and a newline (oom_score_adj, loginuid, timerslack_ns, pid_max, ...).
Result<int64_t> parse_number(std::string_view text);
/// As parse_number, hexadecimal without prefix (personality, coredump_filter).
Result<uint64_t> parse_hex_number(std::string_view text);
/// /proc/PID/task/TID/children: pids separated by blanks.
Result<std::vector<int32_t>> parse_pid_list(std::string_view text);

} // namespace parse
