#include "criu/resource/file/path/proc_file.hh"

#include "criu/resource/file/path/dead_task.hh"
#include "criu/resource/namespace/mounts/proc_below.hh"

#include <algorithm>
#include <charconv>
#include <csignal>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

namespace resource {
namespace {

constexpr std::string_view kProc = "/proc/";
constexpr std::string_view kDeleted = " (deleted)";

/// A decimal number that is a whole component of a path; eats it and the slash behind it.
std::optional<uint32_t> take_number(std::string_view &path) {
    uint32_t number = 0;
    auto [end, error] = std::from_chars(path.data(), path.data() + path.size(), number);
    const auto length = static_cast<size_t>(end - path.data());
    if (error != std::errc() || number == 0 || (length < path.size() && path[length] != '/'))
        return {};
    path.remove_prefix(std::min(length + 1, path.size()));
    return number;
}

bool has_thread(const tree::TaskFacts &task, uint32_t tid) {
    return std::ranges::any_of(task.threads, [&](auto &thread) { return thread.tid.value == static_cast<pid_t>(tid); });
}

uint32_t flags_to_open(const img::reg_file_entry &reg) {
    constexpr uint32_t kNeverAgain = O_CREAT | O_EXCL | O_TRUNC;
    return (reg.flags() & ~kNeverAgain) | O_CLOEXEC | O_NOCTTY;
}

} // namespace

std::optional<ProcTarget> proc_target(std::string_view path) {
    if (!path.starts_with(kProc))
        return {};
    path.remove_prefix(kProc.size());
    if (path.ends_with(kDeleted))
        path.remove_suffix(kDeleted.size());
    const auto pid = take_number(path);
    if (!pid)
        return {};
    constexpr std::string_view kTask = "task/";
    if (!path.starts_with(kTask))
        return ProcTarget{*pid, 0};
    path.remove_prefix(kTask.size());
    return ProcTarget{*pid, take_number(path).value_or(0)};
}

bool is_proc_file(const OpenFile &file) {
    struct statfs fs {};
    return proc_target(file.link) && fstatfs(file.fd, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC;
}

namespace {

/// By its path: whoever has the pid at the restore is meant, if anybody.
std::string about_foreign(const std::string &path, const ProcTarget &target) {
    return fmt::format("{} is a file of task {}, which is outside of the tree: a restore opens what has that path then",
                       path, target.pid);
}

} // namespace

void examine_proc_file(const OpenFile &file, const Examined &known) {
    const auto target = proc_target(file.link);
    struct stat now {};
    const bool gone = lstat(file.link.c_str(), &now) < 0 || now.st_ino != file.stat.st_ino;
    if (target && !gone && !is_in_tree(known.tasks, Pid(static_cast<pid_t>(target->pid)), false))
        known.warnings.push_back(about_foreign(file.link, *target));
}

namespace {

/// Proc file systems that show pid namespaces below the root's.
struct ProcFileSystems {
    bool are_known = false;
    mounts::ProcBelow below;
};

/// The namespace that the file's file system shows, where that is one of them.
Result<const tree::Namespace *> shown_below(FileDumpContext &context, const OpenFile &file) {
    auto &known = context.states.of<ProcFileSystems>();
    if (!std::exchange(known.are_known, true))
        known.below = TRY(mounts::find_proc_below(context.namespaces));
    const auto found = known.below.find(major(file.stat.st_dev) << 20 | minor(file.stat.st_dev));
    if (found == known.below.end())
        return nullptr;
    const auto all = context.namespaces.all();
    return &*std::ranges::find(all, found->second, &tree::Namespace::id);
}

/// What a file system of the tree's own calls a task; 0: it does not show it.
pid_t shown_number(const FileDumpContext &context, const tree::Namespace *below, const tree::TaskFacts &task) {
    if (below)
        return task.ns[tree::NamespaceKind::Pid] == below->inode && !task.inner.empty() ? task.inner.back() : 0;
    return context.namespaces.root_has_own(tree::NamespaceKind::Mnt) ? task.vpid.value : task.pid.value;
}

} // namespace

Result<void> check_proc_below(FileDumpContext &context, const OpenFile &file) {
    struct statfs fs {};
    const bool is_proc = fstatfs(file.fd, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC;
    if (!is_proc || !TRY(shown_below(context, file)))
        return {};
    return base::unsupported("it is a file of a proc file system that shows a pid namespace which only tasks below the "
                             "root live in, and is opened before those are there");
}

Result<void> dump_proc_file(FileDumpContext &context, const OpenFile &file, const std::string &path) {
    const ProcTarget target = *proc_target(path);
    const tree::Namespace *below = TRY(shown_below(context, file));
    auto task = std::ranges::find(context.tasks, static_cast<pid_t>(target.pid),
                                  [&](auto &t) { return shown_number(context, below, t); });
    // The kernel only notices that the task is gone when somebody looks the path up.
    struct stat now {};
    const bool gone = lstat(context.mounts.path(path).c_str(), &now) < 0 || now.st_ino != file.stat.st_ino;
    if (!gone && task == context.tasks.end()) {
        context.log.warn("dump: " + about_foreign(path, target));
        return {};
    }
    if (!gone && file.number < 0)
        return base::unsupported("a directory of a living task in /proc cannot be a working directory or a root");
    if (!gone && target.tid && !has_thread(*task, target.tid))
        return base::unsupported(fmt::format("it is a file of thread {}, which has ended", target.tid));
    if (!gone)
        return {};
    if (below)
        return check_proc_below(context, file); // its stand-in would have to be made inside
    if (target.tid && target.tid != target.pid)
        return base::unsupported(fmt::format("it is a file of thread {}, which has ended", target.tid));
    if (task != context.tasks.end())
        return base::unsupported(fmt::format("its task has ended, and another one has the pid {} now", target.pid));
    img::remap_file_path_entry remap;
    remap.set_orig_id(file.id.value);
    remap.set_remap_id(target.pid);
    remap.set_remap_type(img::PROCFS);
    return context.images.add(image::ImageKind::RemapFpath, 0, remap);
}

Result<base::UniqueFd> open_dead_proc_file(const img::reg_file_entry &reg, uint32_t pid) {
    if (!proc_target(reg.name()))
        return base::bad_image(fmt::format("{} is no file of a task", reg.name()));
    auto task = TRY(DeadTask::create(static_cast<pid_t>(pid)));
    base::UniqueFd fd(open(reg.name().c_str(), static_cast<int>(flags_to_open(reg))));
    if (!fd)
        return base::fail_sys(fmt::format("open {}", reg.name()));
    return fd;
}

Result<void> enter_dead_proc_directory(const img::reg_file_entry &reg, uint32_t pid) {
    {
        if (!proc_target(reg.name()))
            return base::bad_image(fmt::format("{} is no file of a task", reg.name()));
        auto task = TRY(DeadTask::create(static_cast<pid_t>(pid)));
        if (chdir(reg.name().c_str()) < 0)
            return base::fail_sys(fmt::format("change to {}", reg.name()));
    }
    sigset_t child_ended;
    sigemptyset(&child_ended);
    sigaddset(&child_ended, SIGCHLD);
    const timespec now{};
    while (sigtimedwait(&child_ended, nullptr, &now) > 0) { // nothing that the program is to hear of
    }
    return {};
}

Result<plan::OpRef> open_late_proc_file(LatePlan &late, const img::reg_file_entry &reg) {
    if (reg.fown().pid())
        return base::unsupported("the owner of a file in /proc (F_SETOWN) is not supported");
    // Relative to /proc: the task may live in a chroot without it.
    const std::string path = reg.name().substr(kProc.size());
    const uint64_t at = late.plan.data().add(std::as_bytes(std::span(path.c_str(), path.size() + 1)));
    const plan::OpRef fd = late.plan.call(plan::Stage::LateOpen, "open a file in /proc", SYS_openat,
                                          {static_cast<uint64_t>(late.proc_fd), at, flags_to_open(reg), 0});
    if (reg.pos())
        late.plan.call(plan::Stage::LateOpen, "seek in /proc", SYS_lseek, {fd.result(), reg.pos(), SEEK_SET});
    return fd;
}

} // namespace resource
