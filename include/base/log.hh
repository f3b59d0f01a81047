// The log of one run. It is a value that the engines hold and pass on; there is no global logger.
#pragma once

#include "base/unique_fd.hh"

#include <cstdint>
#include <cstdio>
#include <ctime>
#include <string>
#include <string_view>

namespace base {

enum class LogLevel { None = 0, Error = 1, Warn = 2, Info = 3, Debug = 4 };

/// Writes lines `(00.012345) PID area: text` (time since the start of the run, pid only in children of restore) to a
/// descriptor. Each line is one write(2), so that several processes may share the file.
class Log {
public:
    Log() = default; ///< to standard error at the level Warn, as CRIU does before options are read
    Log(UniqueFd file, LogLevel level) : file_(std::move(file)), level_(level) {}

    bool enabled(LogLevel level) const { return level <= level_; }
    LogLevel level() const { return level_; }
    void set_level(LogLevel level) { level_ = level; }
    int fd() const { return file_ ? file_.get() : 2; }
    /// Goes on in another file.
    void move_to(UniqueFd file) { file_ = std::move(file); }
    /// Lines carry this pid from now on (children of a restore share the file).
    void set_pid(int pid) { pid_ = pid; }

    void error(std::string_view text) {
        if (first_error_.empty())
            first_error_ = text;
        line(LogLevel::Error, text, "Error: ");
    }
    void warn(std::string_view text) { line(LogLevel::Warn, text, "Warn:  "); }
    void info(std::string_view text) { line(LogLevel::Info, text); }
    void debug(std::string_view text) { line(LogLevel::Debug, text); }

    /// What to do about the error just logged.
    void hint(std::string_view text) { line(LogLevel::Error, text, "Hint:  "); }

    const std::string &first_error() const { return first_error_; } ///< what RPC returns as cr_errmsg

private:
    static int64_t now_us() {
        timespec t{};
        clock_gettime(CLOCK_MONOTONIC, &t);
        return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
    }

    void line(LogLevel level, std::string_view text, std::string_view prefix = {}) {
        if (!enabled(level))
            return;
        std::string out;
        if (level_ >= LogLevel::Info) { // CRIU shows times only from -v3 on
            int64_t us = now_us() - start_us_;
            char head[48];
            int n = snprintf(head, sizeof head, "(%02lld.%06lld) ", static_cast<long long>(us / 1000000),
                             static_cast<long long>(us % 1000000));
            out.assign(head, static_cast<size_t>(n));
            if (pid_) {
                n = snprintf(head, sizeof head, "%6d: ", pid_);
                out.append(head, static_cast<size_t>(n));
            }
        }
        out += prefix;
        out += text;
        out += '\n';
        if (::write(fd(), out.data(), out.size()) < 0) {
            // A log that cannot be written must not stop a dump.
        }
    }

    UniqueFd file_;
    LogLevel level_ = LogLevel::Warn;
    int64_t start_us_ = now_us();
    int pid_ = 0;
    std::string first_error_;
};

} // namespace base
