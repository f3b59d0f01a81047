#include "criu/plan/thread_directories.hh"

#include <linux/sched.h>
#include <sys/syscall.h>

namespace plan {

void plan_thread_directories(ThreadPlan &plan, const TaskImage &task, const img::core_entry &core,
                             const std::map<uint32_t, int> &directories) {
    if (!core.thread_core().ext().has_directories())
        return;
    const img::ext_directories &own = core.thread_core().ext().directories();
    const auto change_to = [&](uint32_t id) {
        const auto known = directories.find(id); // of a plan that is only looked at: none
        const int fd = known == directories.end() ? -1 : known->second;
        plan.call(Stage::Context, "fchdir", SYS_fchdir, {static_cast<uint64_t>(fd)});
    };
    plan.call(Stage::Context, "unshare, directories", SYS_unshare, {CLONE_FS});
    if (own.root_id() != task.fs.root_id()) {
        change_to(own.root_id());
        const char here[] = ".";
        plan.call(Stage::Context, "chroot", SYS_chroot, {plan.data().add(std::as_bytes(std::span(here)))});
    }
    change_to(own.cwd_id());
    constexpr uint32_t kUmask = 0777;
    plan.call(Stage::Context, "umask", SYS_umask, {own.umask() & kUmask});
}

void plan_closing_directories(ThreadPlan &leader, const std::map<uint32_t, int> &directories) {
    for (auto [id, fd] : directories)
        leader.call(Stage::Filters, "close a directory of a thread", SYS_close, {static_cast<uint64_t>(fd)});
}

} // namespace plan
