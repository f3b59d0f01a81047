#include "criu/engine/restore/hard_limits.hh"

#include "criu/engine/restore/file_checks.hh"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <sys/resource.h>

namespace restore {
namespace {

constexpr std::array kLimitNames{"CPU",     "FSIZE", "DATA",  "STACK",      "CORE",     "RSS",  "NPROC",  "NOFILE",
                                 "MEMLOCK", "AS",    "LOCKS", "SIGPENDING", "MSGQUEUE", "NICE", "RTPRIO", "RTTIME"};

std::string limit_text(uint64_t value) {
    return value == RLIM_INFINITY ? std::string("unlimited") : fmt::format("{}", value);
}

} // namespace

Result<void> fit_limits(plan::Checkpoint &checkpoint, bool lower, base::Log &log) {
    if (may_raise_limits())
        return {};
    for (plan::TaskImage &task : checkpoint.tasks) {
        if (task.dead() || task.threads.empty())
            continue;
        auto *limits = task.threads.front().core.mutable_tc()->mutable_rlimits()->mutable_rlimits();
        for (int kind = 0; kind < std::min<int>(limits->size(), kLimitNames.size()); kind++) {
            rlimit ours{};
            img::rlimit_entry &theirs = *limits->Mutable(kind);
            if (getrlimit(static_cast<__rlimit_resource>(kind), &ours) < 0 || theirs.max() <= ours.rlim_max)
                continue;
            const std::string text = fmt::format("task {} had a hard limit RLIMIT_{} of {}, and here it is {}",
                                                 task.pid, kLimitNames[static_cast<size_t>(kind)],
                                                 limit_text(theirs.max()), limit_text(ours.rlim_max));
            if (!lower)
                return base::fail(
                    base::Error(base::ErrorKind::Unsupported, text)
                        .hint("raise it before the restore (prlimit, ulimit -H), restore with "
                              "CAP_SYS_RESOURCE, or with --lower-limits, which goes on with the one here"));
            log.warn("restore: " + text + ": lowered");
            theirs.set_max(ours.rlim_max);
            theirs.set_cur(std::min<uint64_t>(theirs.cur(), ours.rlim_max));
        }
    }
    return {};
}

} // namespace restore
