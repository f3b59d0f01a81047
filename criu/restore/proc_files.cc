#include "criu/restore/proc_files.hh"

#include "base/unique_fd.hh"

#include <fcntl.h>
#include <fmt/format.h>

namespace restore {
namespace {

Result<void> write_file(const char *path, const std::string &text) {
    base::UniqueFd fd(open(path, O_RDWR | O_CLOEXEC));
    if (!fd)
        return base::fail_sys(fmt::format("open {}", path));
    char now[64];
    ssize_t n = read(fd.get(), now, sizeof now);
    if (n > 0 && std::string(now, static_cast<size_t>(n)).starts_with(text + "\n"))
        return {};
    if (n == static_cast<ssize_t>(text.size()) && text == std::string(now, static_cast<size_t>(n)))
        return {};
    if (pwrite(fd.get(), text.data(), text.size(), 0) < 0)
        return base::fail_sys(fmt::format("write {} to {}", text, path));
    return {};
}

} // namespace

Result<void> restore_proc_files(const plan::TaskImage &task) {
    const img::task_core_entry &tc = task.core().tc();
    if (tc.has_oom_score_adj())
        if (auto r = write_file("/proc/self/oom_score_adj", std::to_string(tc.oom_score_adj())); !r)
            return base::fail(std::move(std::move(r).error().hint("lowering oom_score_adj needs CAP_SYS_RESOURCE")));
    if (tc.has_loginuid() && access("/proc/self/loginuid", F_OK) == 0)
        TRY(write_file("/proc/self/loginuid", std::to_string(tc.loginuid())));
    if (tc.ext().has_coredump_filter())
        TRY(write_file("/proc/self/coredump_filter", fmt::format("{:#x}", tc.ext().coredump_filter())));
    if (tc.ext().has_autogroup_nice())
        (void)write_file("/proc/self/autogroup",
                         std::to_string(tc.ext().autogroup_nice())); // belongs to the session, may be shared
    return {};
}

} // namespace restore
