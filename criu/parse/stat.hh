// /proc/PID/stat: one line of 52 numbers around a name that may hold any byte.
#pragma once

#include "criu/parse/result.hh"

#include <cstdint>
#include <string>
#include <string_view>

namespace parse {

/// Field names of proc(5). Addresses read 0 without ptrace rights.
struct Stat {
    int32_t pid = 0;
    std::string comm; ///< raw bytes without the parentheses
    char state = '?';
    int32_t ppid = 0, pgrp = 0, session = 0;
    int32_t tty_nr = 0, tpgid = 0;
    uint32_t flags = 0; ///< PF_*
    uint64_t minflt = 0, cminflt = 0, majflt = 0, cmajflt = 0;
    uint64_t utime = 0, stime = 0; ///< clock ticks
    int64_t cutime = 0, cstime = 0;
    int64_t priority = 0, nice = 0;
    int64_t num_threads = 0;
    int64_t itrealvalue = 0;
    uint64_t starttime = 0; ///< clock ticks since boot: with pid, an identity
    uint64_t vsize = 0;
    int64_t rss = 0; ///< pages
    uint64_t rsslim = 0;
    uint64_t start_code = 0, end_code = 0, start_stack = 0;
    uint64_t kstkesp = 0, kstkeip = 0;
    uint64_t signal = 0, blocked = 0, sigignore = 0, sigcatch = 0;
    uint64_t wchan = 0, nswap = 0, cnswap = 0;
    int32_t exit_signal = 0;
    int32_t processor = 0;
    uint32_t rt_priority = 0, policy = 0;
    uint64_t delayacct_blkio_ticks = 0;
    uint64_t guest_time = 0;
    int64_t cguest_time = 0;
    uint64_t start_data = 0, end_data = 0, start_brk = 0;
    uint64_t arg_start = 0, arg_end = 0, env_start = 0, env_end = 0;
    int32_t exit_code = 0; ///< wait status

    bool operator==(const Stat &) const = default;
};

Result<Stat> parse_stat(std::string_view text);

} // namespace parse
