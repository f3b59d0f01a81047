#include "criu/engine/restore/files.hh"

#include "criu/engine/restore/file_checks.hh"
#include "criu/engine/restore/page_reader.hh"
#include "criu/engine/restore/whereabouts.hh"
#include "criu/resource/file/external.hh"
#include "criu/resource/file/locks.hh"
#include "criu/resource/file/path/proc_file.hh"

#include <algorithm>
#include <fcntl.h>
#include <fmt/format.h>
#include <fstream>
#include <set>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace restore {
namespace {

using plan::FileStep;
using resource::FileKind;

std::string name_of(const FileStep &step) {
    return fmt::format("file {} ({})", step.file->id(), step.kind->name);
}

/// Moves a descriptor to its home, or to the lowest free number of the stash.
Result<int> stash(const RestoreContext &context, base::UniqueFd fd, std::optional<int> home) {
    int number = home ? fcntl(fd.get(), F_DUPFD_CLOEXEC, *home) : -1;
    if (home && number == *home)
        return number;
    if (number >= 0)
        close(number); // something of ours lies there
    number = fcntl(fd.get(), F_DUPFD_CLOEXEC, context.stash_room.from);
    if (number < 0)
        return base::fail(
            std::move(base::Error::sys("keep a descriptor")
                          .hint("the restore needs a descriptor for every open file of the tree at once: raise the "
                                "hard limit on open files (ulimit -Hn)")));
    return number;
}

/// Carries out the schedule: each description once.
class Opener {
public:
    Opener(RestoreContext &context, resource::FileOpenContext &files, Whereabouts &here)
        : context_(context), files_(files), here_(here) {}

    Result<void> open_all() {
        std::vector<const FileStep *> steps;
        for (const FileStep &step : context_.files.early)
            steps.push_back(&step);
        while (!steps.empty()) {
            std::vector<const FileStep *> postponed;
            for (const FileStep *step : steps)
                if (!TRY_CTX(open(*step), name_of(*step)))
                    postponed.push_back(step);
            if (postponed.size() == steps.size())
                return base::fail(
                    base::ErrorKind::System,
                    fmt::format("{} waits for other files, and all others are open", name_of(*steps.front())));
            steps = std::move(postponed);
        }
        return {};
    }

    /// False: it has to be tried again when others are open.
    Result<bool> open(const FileStep &step) {
        auto fd = TRY(inherit(step));
        if (!fd) {
            TRY(here_.go_to(step.place));
            fd = TRY(step.kind->open(files_, *step.file));
            if (std::exchange(files_.try_again, false))
                return false;
        }
        const uint32_t id = step.file->id();
        context_.stash[id] = files_.opened[id] = TRY(stash(context_, std::move(fd), step.home));
        return true;
    }

    /// The caller's descriptor; none if he does not give one for this object.
    Result<base::UniqueFd> inherit(const FileStep &step) {
        if (files_.options.inherit_fds.empty() || !step.kind->inherit_key)
            return base::UniqueFd();
        const std::string key = TRY(step.kind->inherit_key(files_, *step.file));
        const int given = resource::given_for(files_.options, key);
        if (given < 0)
            return base::UniqueFd();
        base::UniqueFd fd(fcntl(given, F_DUPFD_CLOEXEC, 0));
        if (!fd)
            return base::fail_sys(fmt::format("--inherit-fd fd[{}]:{}", given, key));
        context_.given.insert(step.file->id());
        given_keys_.insert(key);
        return fd;
    }

    void warn_of_unused() const {
        for (const resource::InheritFd &given : files_.options.inherit_fds)
            if (!given_keys_.contains(resource::path_key(given.key)) &&
                !context_.given_namespaces.keys.contains(given.key))
                context_.log.warn(
                    fmt::format("--inherit-fd fd[{}]:{}: nothing in the images is called that", given.fd, given.key));
    }

    /// Of files that the caller could have given and has not.
    void warn_of_missing() const {
        for (const auto &[id, holder] : context_.checkpoint.first_holders) {
            const img::file_entry &file = context_.checkpoint.files.at(id);
            const FileKind *kind = resource::find_file_kind(file.type());
            const std::string text = kind && kind->missing && !context_.given.contains(id)
                                         ? kind->missing(file, context_.checkpoint.files)
                                         : std::string();
            if (text.empty())
                continue;
            const auto key = kind->inherit_key(files_, file);
            context_.log.warn(fmt::format(
                "restore: task {}: descriptor {} is {} (--inherit-fd fd[N]:{} puts descriptor N "
                "of the caller there)",
                context_.checkpoint.tasks[holder.task].pid, holder.number, text, key.value_or(std::string())));
        }
    }

    Result<void> complete_all() {
        for (const FileStep &step : context_.files.early)
            if (step.kind->complete && !context_.given.contains(step.file->id())) {
                TRY(here_.go_to(step.place));
                TRY_CTX(step.kind->complete(files_, files_.opened.at(step.file->id()), *step.file), name_of(step));
            }
        return {};
    }

private:
    RestoreContext &context_;
    resource::FileOpenContext &files_;
    Whereabouts &here_;
    std::set<std::string> given_keys_;
};

/// As high as it goes: behind the hard limit only with CAP_SYS_RESOURCE. Every task gets its own limits in the end.
void raise_limit() {
    uint64_t highest = 0;
    if (std::ifstream setting("/proc/sys/fs/nr_open"); setting >> highest) {
        const rlimit all{highest, highest};
        if (setrlimit(RLIMIT_NOFILE, &all) == 0)
            return;
    }
    rlimit limit{};
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

} // namespace

Result<void> open_files(RestoreContext &context, resource::Masters masters) {
    raise_limit();
    auto settings = context.request.files;
    settings.tcp_close |= context.checkpoint.inventory.tcp_close();
    resource::FileOpenContext files{.options = settings,
                                    .outside = context.outside,
                                    .plugins = context.plugins,
                                    .images = context.checkpoint.images(),
                                    .log = context.log,
                                    .files = context.checkpoint.files,
                                    .remaps = context.checkpoint.remaps,
                                    .net_namespace = context.checkpoint.root().ids.net_ns_id(),
                                    .namespaces = context.namespaces};
    auto here = TRY(Whereabouts::start(context));
    if (here.several())
        files.go_to = [&](uint32_t id) { return here.go_to(id); };
    files.is_held = [&](uint32_t id) { return context.checkpoint.first_holders.contains(id); };
    files.fill_contents = [&](uint64_t id, std::byte *memory, uint64_t size) {
        return fill_shared(context.checkpoint.chain, id, memory, size);
    };
    files.hand_over_terminal = [&](int master) { return context.notifier.hand_over_terminal(master); };
    files.masters = std::move(masters);
    Opener opener(context, files, here);
    Result<void> outcome = opener.open_all();
    if (outcome)
        outcome = opener.complete_all();
    if (outcome)
        outcome = here.go_home();
    if (outcome) {
        opener.warn_of_unused();
        opener.warn_of_missing();
    }
    context.kept_by_files = std::move(files.kept);
    return outcome;
}

namespace {

/// Fills the numbers of a task's table. Late files get a placeholder: see plan/late_files.cc.
Result<std::map<int, uint32_t>> fill_table(const RestoreContext &context, uint32_t table_id, int placeholder) {
    std::map<int, uint32_t> table;
    for (const img::fdinfo_entry &entry : context.checkpoint.tables.at(table_id)) {
        const int number = static_cast<int>(entry.fd());
        auto stashed = context.stash.find(entry.id());
        const bool late = stashed == context.stash.end();
        if (late && !resource::is_late(context.checkpoint.files.at(entry.id()), context.checkpoint.files,
                                       context.checkpoint.remaps))
            return base::fail(base::ErrorKind::Bug, fmt::format("file {} was not opened", entry.id()));
        const bool closes = entry.flags() & FD_CLOEXEC;
        const bool in_place = !late && stashed->second == number;
        if (in_place ? fcntl(number, F_SETFD, closes ? FD_CLOEXEC : 0) < 0
                     : dup3(late ? placeholder : stashed->second, number, closes ? O_CLOEXEC : 0) < 0)
            return base::fail_sys(fmt::format("put file {} to descriptor {}", entry.id(), number));
        table.emplace(number, entry.id());
    }
    return table;
}

resource::FileSettleContext settle_context(const RestoreContext &context, const plan::TaskImage &task,
                                           const std::map<int, uint32_t> &table) {
    return {.log = context.log,
            .files = context.checkpoint.files,
            .opened = context.stash,
            .table = table,
            .pid = task.pid,
            .sid = task.sid,
            .numbers = context.checkpoint.numbers,
            .kept = context.kept_by_files};
}

} // namespace

Result<void> lead_session(RestoreContext &context, const plan::Node &node) {
    const std::map<int, uint32_t> nothing; // is at its number yet
    auto settle = settle_context(context, context.task(node), nothing);
    for (const FileKind *kind : resource::file_kinds())
        if (kind->lead_session)
            TRY_CTX(kind->lead_session(settle, context.checkpoint.images()), kind->name);
    return {};
}

Result<void> place_files(RestoreContext &context, const plan::Node &node, uint32_t table_id, int placeholder) {
    const plan::TaskImage &task = context.task(node);
    const bool of_task = table_id == task.ids.files_id();
    std::map<int, uint32_t> table;
    auto settle = settle_context(context, task, table);
    if (of_task && task.pid == task.sid)
        for (const FileKind *kind : resource::file_kinds())
            if (kind->settle_session)
                TRY_CTX(kind->settle_session(settle, context.checkpoint.images()), kind->name);
    table = TRY(fill_table(context, table_id, placeholder));
    const auto settle_file = [&](int fd, uint32_t id) -> Result<void> {
        const img::file_entry &file = context.checkpoint.files.at(id);
        const FileKind *kind = resource::find_file_kind(file.type()); // one of the schedule
        if (!kind->settle || context.given.contains(id))
            return {};
        auto first = context.checkpoint.first_holders.find(id);
        settle.first_holder = first == context.checkpoint.first_holders.end() || first->second.table == table_id;
        TRY_CTX(kind->settle(settle, fd, file), fmt::format("fd {} ({})", fd, kind->name));
        return {};
    };
    std::set<uint32_t> settled;
    for (auto [number, id] : table)
        if (context.stash.contains(id) && settled.insert(id).second)
            TRY(settle_file(number, id));
    if (of_task && node.parent < 0)
        for (auto [id, fd] : context.stash)
            if (!context.checkpoint.first_holders.contains(id))
                TRY(settle_file(fd, id));
    return {};
}

Result<void> restore_locks(const RestoreContext &context, const plan::TaskImage &task) {
    for (auto [lock, end] = context.checkpoint.locks.equal_range(static_cast<int32_t>(task.pid)); lock != end; ++lock)
        TRY(resource::restore_lock(lock->second));
    return {};
}

namespace {

/// One below /proc of a task that has ended cannot be changed to by a descriptor.
Result<void> change_to(RestoreContext &context, uint32_t id) {
    if (fchdir(context.stash.at(id)) == 0)
        return {};
    const int code = errno;
    for (auto [remap, end] = context.checkpoint.remaps.equal_range(id); code == ESRCH && remap != end; ++remap)
        if (remap->second.remap_type() == img::PROCFS)
            return context.rendezvous.in_turn([&, pid = remap->second.remap_id()] {
                return resource::enter_dead_proc_directory(context.checkpoint.files.at(id).reg(), pid);
            });
    return base::fail_sys(code, "change to the working directory");
}

} // namespace

Result<void> restore_directories(RestoreContext &context, const plan::TaskImage &task) {
    // The root first, by way of its descriptor; then the working directory, which may lie outside of it.
    struct stat ours {
    }, theirs{};
    const int root = context.stash.at(task.fs.root_id());
    if (fstat(root, &theirs) < 0 || stat("/", &ours) < 0)
        return base::fail_sys("look at the root directory");
    if (ours.st_dev != theirs.st_dev || ours.st_ino != theirs.st_ino) {
        if (fchdir(root) < 0 || chroot(".") < 0)
            return base::fail_sys("change the root directory");
    }
    TRY(change_to(context, task.fs.cwd_id()));
    umask(static_cast<mode_t>(task.fs.umask()));
    return {};
}

void close_foreign(const RestoreContext &context, uint32_t table_id) {
    unsigned next = 0;
    auto close_up_to = [&](unsigned end) { // [next, end)
        if (end > next)
            syscall(SYS_close_range, next, end - 1, 0);
        next = end + 1;
    };
    bool kept = false;
    auto leave_kept = [&] {
        close_up_to(static_cast<unsigned>(context.keep_base()));
        next = static_cast<unsigned>(context.stash_room.end);
        kept = true;
    };
    for (const img::fdinfo_entry &entry : context.checkpoint.tables.at(table_id)) {
        if (!kept && entry.fd() >= static_cast<unsigned>(context.stash_room.end))
            leave_kept();
        close_up_to(entry.fd());
    }
    if (!kept)
        leave_kept();
    if (next < INT_MAX)
        close_up_to(INT_MAX);
}

} // namespace restore
