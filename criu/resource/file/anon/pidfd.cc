// pidfds of tasks and threads of the tree, and of dead tasks. Those of the living are opened late; a dead task is
// replaced by a process that dies at once. Since Linux 6.9 pidfds of one task share an inode number: the same task
// stands in for all of them.
#include "criu/parse/fdinfo.hh"
#include "criu/resource/file/file.hh"
#include "criu/resource/file/path/dead_task.hh"

#include <algorithm>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace resource::pidfd {
namespace {

constexpr uint32_t kPidfdThread = O_EXCL; // PIDFD_THREAD, also as the kernel keeps it in the file's flags

bool matches(const OpenFile &file) {
    return file.link == "anon_inode:[pidfd]" || file.link.starts_with("pidfd:[");
}

/// The task it refers to, one of the tree; -1 for one that has died.
Result<Pid> task_of(std::span<const tree::TaskFacts> tasks, const OpenFile &file) {
    const auto info = TRY(parse::parse_fdinfo(file.fdinfo));
    if (!info.pidfd || info.pidfd->pid == 0)
        return base::unsupported("its task is in another pid namespace");
    const Pid pid(info.pidfd->pid);
    if (pid.value > 0 && !is_in_tree(tasks, pid, file.flags & kPidfdThread))
        return base::fail(base::Error(base::ErrorKind::Unsupported,
                                      fmt::format("it refers to task {}, which is outside of the tree", pid.value))
                              .hint("dump the common ancestor of both tasks"));
    return pid;
}

Result<void> examine(const OpenFile &file, const Examined &known) {
    TRY(task_of(known.tasks, file));
    return {};
}

Result<void> dump(FileDumpContext &context, const OpenFile &file, img::file_entry &entry) {
    const Pid pid = TRY(task_of(context.tasks, file));
    img::pidfd_entry *pidfd = entry.mutable_pidfd();
    pidfd->set_id(file.id.value);
    pidfd->set_ino(static_cast<uint32_t>(file.stat.st_ino));
    pidfd->set_flags(file.flags & (kPidfdThread | O_NONBLOCK));
    pidfd->set_nspid(pid.value > 0 ? context.pids.inside(pid).value : pid.value);
    TRY(dump_owner(context, file, pidfd->mutable_fown()));
    if (has_owner(pidfd->fown()))
        return base::unsupported("the owner of a pidfd (F_SETOWN)");
    return {};
}

bool is_of_the_living(const img::file_entry &entry, const ImageFiles &, const Remaps &) {
    return entry.pidfd().nspid() > 0;
}

/// Those that have died, by the inode number of their pidfds; they live until all files are open.
struct DeadTasks {
    std::map<uint32_t, DeadTask> by_inode;
};

Result<base::UniqueFd> open_dead(FileOpenContext &context, const img::file_entry &entry) {
    auto &dead = context.states.of<DeadTasks>().by_inode;
    auto task = dead.find(entry.pidfd().ino());
    if (task == dead.end())
        task = dead.emplace(entry.pidfd().ino(), TRY(DeadTask::create(0))).first;
    base::UniqueFd fd(static_cast<int>(
        syscall(SYS_pidfd_open, task->second.pid(), entry.pidfd().flags() & (kPidfdThread | O_NONBLOCK))));
    if (!fd)
        return base::fail_sys("pidfd_open");
    return fd;
}

Result<plan::OpRef> open_late(LatePlan &late, const img::file_entry &entry) {
    return late.plan.call(
        plan::Stage::LateOpen, "pidfd_open", SYS_pidfd_open,
        {static_cast<uint64_t>(entry.pidfd().nspid()), entry.pidfd().flags() & (kPidfdThread | O_NONBLOCK)});
}

} // namespace

extern const FileKind kKind{
    .name = "pidfd",
    .type = img::PIDFD,
    .about = {.saved = "the task or thread (PIDFD_THREAD) it refers to, dead ones too",
              .restored = "opened when all tasks exist; a dead task is replaced by a process that dies at once",
              .limits = "tasks outside of the tree or in another pid namespace and an owner (F_SETOWN) are refused; so "
                        "are pidfds on their way through a socket that has no peer of its own"},
    .matches = matches,
    .dump = dump,
    .open = open_dead,
    .late = is_of_the_living,
    .open_late = open_late,
    .examine = examine};

} // namespace resource::pidfd
