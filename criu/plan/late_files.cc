#include "criu/plan/late_files.hh"

#include "criu/resource/file/file.hh"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/syscall.h>

namespace plan {
namespace {

using resource::FileKind;
using resource::LatePlan;

class LateFiles {
public:
    LateFiles(ThreadPlan &plan, const Checkpoint &checkpoint, const TaskImage &task, int proc_fd)
        : plan_(plan), checkpoint_(checkpoint), task_(task), proc_fd_(proc_fd) {
        for (const img::fdinfo_entry &entry : entries())
            table_.emplace(static_cast<int>(entry.fd()), entry.id());
    }

    Result<void> plan() {
        for (const img::fdinfo_entry &entry : entries())
            if (resource::is_late(checkpoint_.files.at(entry.id()), checkpoint_.files, checkpoint_.remaps))
                TRY_CTX(plan_descriptor(entry), fmt::format("fd {}", entry.fd()));
        for (const img::fdinfo_entry &entry : entries())
            TRY_CTX(plan_rest(entry), fmt::format("fd {}", entry.fd()));
        plan_.call(Stage::LateFetch, "close /proc", SYS_close, {static_cast<uint64_t>(proc_fd_)});
        return {};
    }

private:
    const std::vector<img::fdinfo_entry> &entries() const { return checkpoint_.tables.at(task_.ids.files_id()); }
    bool is_first(const Holder &holder) const { return &checkpoint_.tasks[holder.task] == &task_; }

    // A number that a late file will take holds /proc until then, so that no new descriptor gets it by chance.
    void place(Stage stage, Arg fd, const img::fdinfo_entry &entry) {
        plan_.call(stage, "dup3, a late file", SYS_dup3,
                   {fd, entry.fd(), entry.flags() & FD_CLOEXEC ? uint64_t{O_CLOEXEC} : 0});
    }

    Result<void> plan_descriptor(const img::fdinfo_entry &entry) {
        const Holder &holder = checkpoint_.first_holders.at(entry.id());
        const img::file_entry &file = checkpoint_.files.at(entry.id());
        const FileKind &kind = *resource::find_file_kind(file.type());
        const bool with_credentials = kind.keeps_credentials && kind.keeps_credentials(file);
        if (!is_first(holder) && with_credentials)
            return base::unsupported(fmt::format("{}: task {} has it as well, with descriptors of its own", kind.name,
                                                 checkpoint_.tasks[holder.task].pid));
        if (!is_first(holder)) {
            const OpRef pidfd = plan_.call(Stage::LateFetch, "pidfd_open, who has a late file", SYS_pidfd_open,
                                           {checkpoint_.tasks[holder.task].pid, 0});
            const OpRef fd = plan_.call(Stage::LateFetch, "pidfd_getfd, a late file", SYS_pidfd_getfd,
                                        {pidfd.result(), holder.number, 0});
            place(Stage::LateFetch, fd.result(), entry);
            plan_.call(Stage::LateFetch, "close", SYS_close, {fd.result()});
            plan_.call(Stage::LateFetch, "close", SYS_close, {pidfd.result()});
            return {};
        }
        if (holder.number != entry.fd()) {
            place(with_credentials ? Stage::Arm : Stage::LateFetch, holder.number, entry);
            return {};
        }
        LatePlan late = context(entry);
        late.stage = with_credentials ? Stage::Arm : Stage::LateOpen;
        const OpRef fd = TRY(kind.open_late(late, file));
        place(late.stage, fd.result(), entry);
        plan_.call(late.stage, "close", SYS_close, {fd.result()});
        return {};
    }

    Result<void> plan_rest(const img::fdinfo_entry &entry) {
        const Holder &holder = checkpoint_.first_holders.at(entry.id());
        const img::file_entry &file = checkpoint_.files.at(entry.id());
        const FileKind *kind = resource::find_file_kind(file.type());
        if (!kind || !kind->settle_late || !is_first(holder) || holder.number != entry.fd())
            return {};
        LatePlan late = context(entry);
        return kind->settle_late(late, file);
    }

    LatePlan context(const img::fdinfo_entry &entry) {
        return {plan_, proc_fd_, checkpoint_.files, checkpoint_.remaps, table_, task_.mm, static_cast<int>(entry.fd())};
    }

    ThreadPlan &plan_;
    const Checkpoint &checkpoint_;
    const TaskImage &task_;
    int proc_fd_;
    std::map<int, uint32_t> table_;
};

/// Whether the table was filled by a task before this one.
bool borrows_table(const Checkpoint &checkpoint, const TaskImage &task) {
    for (const TaskImage &other : checkpoint.tasks)
        if (!other.dead() && other.ids.files_id() == task.ids.files_id())
            return &other != &task;
    return false;
}

} // namespace

Result<void> plan_late_files(ThreadPlan &plan, const Checkpoint &checkpoint, const TaskImage &task, int proc_fd) {
    if (!checkpoint.has_late_files || borrows_table(checkpoint, task))
        return {};
    return LateFiles(plan, checkpoint, task, proc_fd).plan();
}

} // namespace plan
