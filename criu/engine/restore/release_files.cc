// What the coordinator does to files right before the tree runs, by way of the first task that has each.
#include "compel/ptrace.hh"
#include "criu/engine/restore/files.hh"
#include "criu/resource/socket/unix/unix_late_queue.hh"

#include <fmt/format.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace restore {

using resource::FileKind;

namespace {

/// Descriptors of restored tasks.
class Holders {
public:
    explicit Holders(const RestoreContext &context) : context_(context), checkpoint_(context.checkpoint) {}

    /// A copy of what the first holder of a file has; an invalid one if the file has none.
    Result<base::UniqueFd> fetch(uint32_t id) {
        auto holder = checkpoint_.first_holders.find(id);
        if (holder == checkpoint_.first_holders.end())
            return base::UniqueFd();
        const pid_t pid = pid_of(holder->second);
        base::UniqueFd &pidfd = pidfds_[pid];
        if (!pidfd)
            pidfd = TRY(compel::open_pidfd(base::Pid(pid)));
        base::UniqueFd fd(static_cast<int>(syscall(SYS_pidfd_getfd, pidfd.get(), holder->second.number, 0)));
        if (!fd)
            return base::fail_sys(fmt::format("{}: pidfd_getfd", text(id)));
        return fd;
    }

    std::string text(uint32_t id) const {
        const plan::Holder &holder = checkpoint_.first_holders.at(id);
        const FileKind *kind = resource::find_file_kind(checkpoint_.files.at(id).type());
        return fmt::format("task {}: fd {} ({})", pid_of(holder), holder.number, kind ? kind->name : "file");
    }

    /// What to put before the paths of its holder.
    std::string root_of(uint32_t id) const {
        const plan::Holder &holder = checkpoint_.first_holders.at(id);
        const bool below = checkpoint_.tasks[holder.task].ids.mnt_ns_id() != checkpoint_.root().ids.mnt_ns_id();
        return below ? fmt::format("/proc/{}/root", pid_of(holder)) : context_.tree_root();
    }

private:
    pid_t pid_of(const plan::Holder &holder) const { return context_.real_pid(holder.tid).value; }
    const RestoreContext &context_;
    const plan::Checkpoint &checkpoint_;
    std::map<pid_t, base::UniqueFd> pidfds_;
};

} // namespace

Result<void> release_files(const RestoreContext &context) {
    resource::FileReleaseContext release{.options = context.request.files,
                                         .images = context.checkpoint.images(),
                                         .log = context.log,
                                         .remaps = context.checkpoint.remaps,
                                         .root = context.tree_root(),
                                         .states = {}};
    Holders holders(context);
    TRY(resource::refill_late_queues(context.checkpoint.images(), context.checkpoint.files, context.pids,
                                     [&](uint32_t id) { return holders.fetch(id); }));
    for (auto &[id, file] : context.checkpoint.files) {
        const FileKind *kind = resource::find_file_kind(file.type());
        if (!kind || !kind->release || !context.checkpoint.first_holders.contains(id))
            continue;
        const base::UniqueFd fd = TRY(holders.fetch(id));
        release.root = holders.root_of(id);
        TRY_CTX(kind->release(release, fd.get(), file), holders.text(id));
    }
    return {};
}

} // namespace restore
