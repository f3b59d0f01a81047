#include "criu/engine/restore/proc_files.hh"

#include "criu/kernel/io.hh"

#include <cstdlib>
#include <fcntl.h>
#include <unistd.h>

namespace restore {
namespace {

/// Whether the file says that number; `base` as for strtol(3).
bool says(const char *path, long number, int base) {
    auto text = kernel::read_file(AT_FDCWD, path);
    return text && !text->empty() && strtol(text->c_str(), nullptr, base) == number;
}

/// Nothing is opened for writing that has its value already: that may take a privilege.
Result<void> set_number(const char *path, long number, int base = 10) {
    if (says(path, number, base))
        return {};
    return kernel::write_file(AT_FDCWD, path, std::to_string(number));
}

} // namespace

Result<void> restore_proc_files(const plan::TaskImage &task) {
    const img::task_core_entry &tc = task.core().tc();
    if (tc.has_oom_score_adj())
        if (auto r = set_number("/proc/self/oom_score_adj", tc.oom_score_adj()); !r)
            return base::fail(std::move(std::move(r).error().hint("lowering oom_score_adj needs CAP_SYS_RESOURCE")));
    if (tc.has_loginuid() && access("/proc/self/loginuid", F_OK) == 0)
        TRY(set_number("/proc/self/loginuid", tc.loginuid()));
    if (tc.ext().has_coredump_filter())
        TRY(set_number("/proc/self/coredump_filter", tc.ext().coredump_filter(), 16));
    if (tc.ext().has_autogroup_nice())
        // Belongs to the session, may be shared.
        (void)kernel::write_file(AT_FDCWD, "/proc/self/autogroup", std::to_string(tc.ext().autogroup_nice()));
    return {};
}

} // namespace restore
