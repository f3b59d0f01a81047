#include "criu/engine/dump/checks.hh"

#include "criu/kernel/proc_dir.hh"
#include "criu/parse/stat.hh"
#include "criu/parse/status.hh"

#include <algorithm>
#include <climits>
#include <fcntl.h>
#include <fmt/format.h>
#include <set>
#include <unistd.h>

namespace dump {
namespace {

std::unexpected<base::Error> foreign(const tree::TaskFacts &task, const char *what, int id) {
    return base::fail(base::Error(base::ErrorKind::Unsupported,
                                  fmt::format("task {} ({}) belongs to {} {}, whose leader is outside of the tree",
                                              task.pid.value, task.stat.comm, what, id))
                          .hint("dump with --shell-job, or start the program with setsid"));
}

std::optional<parse::Stat> stat_of(int pid) {
    const auto text = kernel::read_file(AT_FDCWD, fmt::format("/proc/{}/stat", pid).c_str());
    auto stat = text ? parse::parse_stat(*text) : parse::Result<parse::Stat>(std::unexpected(text.error()));
    return stat ? std::optional(std::move(*stat)) : std::nullopt;
}

} // namespace

Result<void> check_target(base::Pid root, bool may_hold_us) {
    const auto status_text = kernel::read_file(AT_FDCWD, fmt::format("/proc/{}/status", root.value).c_str());
    const auto stat = stat_of(root.value);
    if (!status_text || !stat)
        return {};
    constexpr uint32_t kKernelThread = 0x0020'0000; // PF_KTHREAD
    if (stat->flags & kKernelThread)
        return base::unsupported(
            fmt::format("{} ({}) is a kernel thread: it has no memory that could be saved", root.value, stat->comm));
    const auto status = parse::parse_status(*status_text);
    if (status && status->tgid != root.value) {
        const auto process = stat_of(status->tgid);
        return base::fail(
            base::Error(base::ErrorKind::Usage, fmt::format("{} is a thread of process {} ({})", root.value,
                                                            status->tgid, process ? process->comm : "?"))
                .hint(fmt::format("a tree is named by the id of its process: -t {}", status->tgid)));
    }
    if (root.value == 1)
        return base::fail(base::Error(base::ErrorKind::Unsupported,
                                      "1 is the init process: everything here is in its tree, criu itself included")
                              .hint("run criu outside of the pid namespace, with the id that the process has there"));
    for (int pid = may_hold_us ? 0 : getpid(); pid > 1;) {
        if (pid == root.value)
            return base::fail(base::Error(base::ErrorKind::Unsupported,
                                          fmt::format("criu itself is in the tree of {} ({}), which would have to stop",
                                                      root.value, stat->comm))
                                  .hint("start criu from a process outside of that tree"));
        const auto here = stat_of(pid);
        pid = here ? here->ppid : 0;
    }
    return {};
}

Result<void> check_sessions(const std::vector<tree::TaskFacts> &tasks, bool shell_job) {
    const tree::TaskFacts &root = tasks.front();
    if (shell_job)
        return {};
    // Leaders of other ids that are not in the tree have died in it: only the root can have brought one from outside.
    if (root.vsession != root.vpid)
        return foreign(root, "session", root.stat.session);
    for (const tree::TaskFacts &task : tasks)
        if (task.vsession.value == 0 || task.vgroup.value == 0)
            return foreign(task, "session", task.stat.session);
    return {};
}

Result<void> check_threads(const tree::TaskFacts &task, const std::vector<tree::TaskFacts> &tasks) {
    for (const tree::ThreadFacts &thread : task.threads) {
        if (!thread.own_table)
            continue;
        for (const tree::TaskFacts &other : tasks) {
            const bool has_it = std::ranges::any_of(other.threads, [&](const tree::ThreadFacts &each) {
                return thread.own_table == (each.own_table ? each.own_table : other.ids.files);
            });
            if (other.pid != task.pid && has_it)
                return base::unsupported(fmt::format("thread {} has left the descriptors of its process, and shares "
                                                     "others with task {} ({})",
                                                     thread.tid.value, other.pid.value, other.stat.comm));
        }
    }
    return {};
}

Result<void> check_sharing(const tree::TaskFacts &task, const std::vector<tree::TaskFacts> &tasks) {
    if (!task.memory_of.value)
        return {};
    const auto parent = std::ranges::find(tasks, task.parent, &tree::TaskFacts::pid);
    if (parent != tasks.end() && !parent->zombie && parent->ids.vm == task.ids.vm)
        return {};
    const auto other = std::ranges::find(tasks, task.memory_of, &tree::TaskFacts::pid);
    return base::fail(
        base::Error(base::ErrorKind::Unsupported,
                    fmt::format("it shares its memory with task {} ({}), which is not its "
                                "parent: only a parent's memory can be shared again",
                                other->pid.value, other->stat.comm))
            .hint(
                "such processes are made by clone(CLONE_VM | CLONE_PARENT), or are orphans of one that has made them"));
}

} // namespace dump
