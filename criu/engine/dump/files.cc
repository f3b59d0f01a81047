#include "criu/engine/dump/files.hh"

#include "criu/engine/dump/collect.hh"
#include "criu/engine/dump/refusals.hh"
#include "criu/kernel/io.hh"
#include "criu/kernel/mount_of.hh"
#include "criu/parse/fdinfo.hh"
#include "criu/resource/file/kinds.hh"
#include "criu/resource/file/locks.hh"
#include "criu/resource/file/mqueue/message_queue.hh"
#include "criu/resource/file/plugin_file.hh"
#include "criu/resource/socket/unix/unix_late_queue.hh"

#include <algorithm>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/kcmp.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <utility>

namespace dump {
namespace {

int compare_files(Pid pid1, int fd1, Pid pid2, int fd2) {
    long r = syscall(SYS_kcmp, pid1.value, pid2.value, KCMP_FILE, fd1, fd2);
    return r == 0 ? 0 : r == 1 ? -1 : 1;
}

} // namespace

FileTable::FileTable(resource::FileDumpContext &context) : context_(&context) {
    context.dump_passed = [this](base::UniqueFd fd) { return add_passed(std::move(fd)); };
}

Result<const resource::FileKind *> FileTable::kind_of(const resource::OpenFile &file) {
    for (const resource::FileKind *candidate : resource::file_kinds())
        if (candidate->matches(file))
            return candidate;
    return base::fail(base::Error(base::ErrorKind::Unsupported, fmt::format("{} cannot be checkpointed", file.link))
                          .hint("close it before the dump, or leave it out with --skip-fd if the program can do "
                                "without it"));
}

// Plugins are asked for what is refused without them: what CRIU asks them for, and what only it refuses.
Result<bool> FileTable::by_plugin(const resource::OpenFile &file) {
    auto kind = kind_of(file);
    if (kind && *kind != &resource::refused_socket::kKind)
        return false;
    img::file_entry entry;
    if (!TRY_CTX(resource::dump_with_plugin(*context_, file, entry), file.link))
        return false;
    TRY(context_->images.add(image::ImageKind::Files, 0, entry));
    return true;
}

// A socket's name is a path of who has made it, as far as anybody knows.
Result<void> FileTable::look_from(const resource::OpenFile &file) {
    if (file.family >= 0)
        TRY(context_->networks.enter(file.net));
    if (!context_->mounts.several())
        return {};
    if (file.family >= 0) {
        const auto task = std::ranges::find(context_->tasks, file.holder, &tree::TaskFacts::pid);
        context_->mounts.look_from_namespace(task == context_->tasks.end() ? 0 : task->ns[tree::NamespaceKind::Mnt]);
    } else
        context_->mounts.look_from(TRY(kernel::mount_of(file.fd)));
    return {};
}

Result<void> FileTable::dump(const resource::FileKind &kind, const resource::OpenFile &file) {
    img::file_entry entry;
    entry.set_type(kind.type);
    entry.set_id(file.id.value);
    context_->postponed = false;
    TRY_CTX(look_from(file), file.link);
    TRY_CTX(kind.dump(*context_, file, entry), file.link);
    if (resource::is_late(entry, {}, {}))
        late_.insert(entry.id());
    if (std::exchange(context_->postponed, false))
        return {};
    return context_->images.add(image::ImageKind::Files, 0, entry);
}

// All eventfds share one inode (as other files without a name do): comparing each with many others would take longer
// than all the rest of a dump that has thousands.
Result<FileTable::Key> FileTable::key_of(const FileReader &reader, resource::OpenFile &file) {
    Key key{file.stat.st_dev, file.stat.st_ino, file.flags};
    if ((file.stat.st_mode & S_IFMT) != 0)
        return key;
    TRY(reader.complete(file));
    if (auto info = parse::parse_fdinfo(file.fdinfo); info && info->eventfd && info->eventfd->id)
        key.object = static_cast<uint64_t>(*info->eventfd->id) + 1;
    return key;
}

Result<FileTable::Known> FileTable::find_or_dump(const FileReader &reader, resource::OpenFile file) {
    const Pid holder = file.holder, voice = file.voice;
    const int number = file.number;
    auto &same = descriptions_[TRY(key_of(reader, file))];
    auto place = std::lower_bound(same.begin(), same.end(), number, [&](const Known &known, int n) {
        return compare_files(known.voice, known.number, voice, n) < 0;
    });
    if (place != same.end() && compare_files(place->voice, place->number, voice, number) == 0) {
        const Known known = *place;
        if (S_ISREG(file.stat.st_mode) && known.holder != holder)
            TRY(resource::dump_locks(*context_, TRY(reader.fdinfo(number)), holder, number, false));
        return known;
    }
    TRY(reader.complete(file));
    if (file.family >= 0)
        file.net = TRY_CTX(context_->networks.of(file.fd), file.link);
    // Not from /proc/locks: the kernel stops all lock operations of the machine to print it, which takes 15 ms.
    TRY(resource::dump_locks(*context_, file.fdinfo, holder, number, true));
    file.id = context_->new_id();
    if (TRY(resource::holds_lease(file.fdinfo)))
        leased_.emplace(std::pair(file.stat.st_dev, file.stat.st_ino), file.id);
    if (TRY(by_plugin(file)))
        return *same.insert(place, Known{file.id, img::EXT, holder, voice, number});
    const resource::FileKind *kind = TRY(kind_of(file));
    // Known before it is dumped: a socket may hold itself in its own queue.
    const Known known = *same.insert(place, Known{file.id, kind->type, holder, voice, number});
    TRY(dump(*kind, file));
    return known;
}

Result<FileId> FileTable::add_passed(base::UniqueFd fd) {
    if (!our_own_)
        our_own_ = TRY(FileReader::open(Pid(getpid()), Pid(getpid())));
    resource::OpenFile file = TRY(resource::look_at(fd.get()));
    file.holder = file.voice = our_own_->holder();
    file.number = fd.get();
    const size_t before = context_->next_file_id;
    const Known known = TRY_CTX(find_or_dump(*our_own_, std::move(file)), "a descriptor on its way");
    const bool passed_late = known.type == img::PIDFD && context_->states.of<resource::LatePassing>().possible;
    if (late_.contains(known.id.value) && !passed_late)
        return base::fail(base::Error(base::ErrorKind::Unsupported,
                                      fmt::format("a descriptor on its way through a socket is a {}, which can only be "
                                                  "restored where a task has it open",
                                                  resource::find_file_kind(known.type)->name))
                              .hint("dump again when it was received"));
    if (context_->next_file_id != before)
        kept_.push_back(std::move(fd));
    return known.id;
}

Result<void> FileTable::add_table(const TableOwner &owner, const std::vector<bool> &close_on_exec) {
    const FileReader reader = TRY(FileReader::open(owner.holder, owner.voice));
    TableReader table(reader, owner.fds);
    for (size_t i = 0; i < owner.fds.size();)
        for (BorrowedFile &borrowed : TRY(table.next())) {
            const int number = borrowed.file.number;
            const auto found = find_or_dump(reader, std::move(borrowed.file));
            if (!found)
                return refuse_all(base::Error(found.error()).ctx(fmt::format("fd {}", number)), owner, number);
            const Known known = *found;
            img::fdinfo_entry entry;
            entry.set_id(known.id.value);
            entry.set_flags(close_on_exec[i++] ? FD_CLOEXEC : 0);
            entry.set_type(known.type);
            entry.set_fd(static_cast<uint32_t>(number));
            TRY(context_->images.add(image::ImageKind::Fdinfo, owner.id, entry));
        }
    return context_->images.close_file(image::ImageKind::Fdinfo, owner.id);
}

// What follows is written for nobody: the images go with the dump that fails.
void FileTable::look_for_refusals(const tree::TaskFacts &task, const TableOwner &owner, size_t from) {
    const auto reader = FileReader::open(owner.holder, owner.voice);
    if (!reader)
        return;
    TableReader table(*reader, owner.fds.subspan(from));
    for (size_t seen = from; seen < owner.fds.size();) {
        auto some = table.next();
        if (!some || some->empty())
            return;
        for (BorrowedFile &borrowed : *some) {
            seen++;
            const int number = borrowed.file.number;
            const auto known = find_or_dump(*reader, std::move(borrowed.file));
            if (known || known.error().kind() != base::ErrorKind::Unsupported)
                continue;
            log_refusal(context_->log, base::Error(known.error()).ctx(fmt::format("fd {}", number)).ctx(name_of(task)));
        }
    }
}

/// Whoever removes the cause of one refusal wants to hear of all others, too: they are logged. Returns the first.
Result<void> FileTable::refuse_all(base::Error first, const TableOwner &owner, int number) {
    if (first.kind() != base::ErrorKind::Unsupported)
        return base::fail(std::move(first));
    std::set<uint32_t> looked_at{owner.id};
    bool behind = false;
    for (const tree::TaskFacts &task : context_->tasks) {
        const bool here = task.pid == owner.holder;
        behind = behind || here;
        if (!behind || task.zombie || (!here && !looked_at.insert(task.ids.files).second))
            continue;
        const auto next = here ? std::ranges::upper_bound(owner.fds, number) : owner.fds.begin();
        if (here)
            look_for_refusals(task, owner, static_cast<size_t>(next - owner.fds.begin()));
        else
            look_for_refusals(task, {task.pid, task.voice, task.fds, task.ids.files}, 0);
    }
    return base::fail(std::move(first));
}

std::optional<FileId> FileTable::find_open(uint64_t device, uint64_t inode) const {
    const Pid ourselves(getpid());
    for (auto found = descriptions_.lower_bound({device, inode, 0});
         found != descriptions_.end() && found->first.device == device && found->first.inode == inode; ++found)
        for (const Known &known : found->second)
            if (known.holder != ourselves)
                return known.id;
    return std::nullopt;
}

Result<void> FileTable::finish() {
    TRY(context_->networks.go_home());
    context_->mounts.look_from(0);
    TRY(resource::dump_unopened_queues(*context_));
    for (const resource::FileKind *kind : resource::file_kinds())
        if (kind->finish)
            TRY(kind->finish(*context_));
    return {};
}

std::optional<std::string> FileTable::find_path_of(const tree::TaskFacts &task, const std::string &name,
                                                   uint64_t device, uint64_t inode) const {
    context_->mounts.look_from_namespace(task.ns[tree::NamespaceKind::Mnt]);
    const std::string path = context_->mounts.path(name);
    struct stat st {};
    const bool is_it =
        name.starts_with('/') && lstat(path.c_str(), &st) == 0 && st.st_dev == device && st.st_ino == inode;
    return is_it ? std::optional(path) : std::nullopt;
}

Result<FileId> FileTable::add_path(const tree::TaskFacts &task, const std::string &path, int flags, std::string link) {
    // Looked at before it is opened: most of these are the same few files in all tasks.
    resource::OpenFile file;
    if (stat(path.c_str(), &file.stat) < 0)
        return base::fail_sys(fmt::format("look at {}", path));
    Key key{file.stat.st_dev, file.stat.st_ino, static_cast<uint64_t>(flags)};
    if (context_->mounts.several()) { // the same directory is another one in another namespace
        const base::UniqueFd there(open(path.c_str(), O_PATH | O_CLOEXEC));
        key.object = there ? TRY(kernel::mount_of(there.get())) : 0;
    }
    if (auto known = paths_.find(key); known != paths_.end())
        return known->second;
    // Another description would break the lease, now and when it is restored. A mapping can only be of this one.
    if (auto leased = leased_.find({file.stat.st_dev, file.stat.st_ino}); leased != leased_.end())
        return leased->second;
    // What is neither readable nor ours to open for writing can still be looked at.
    base::UniqueFd fd(open(path.c_str(), flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    if (!fd)
        fd.reset(open(path.c_str(), O_PATH | O_CLOEXEC));
    if (!fd)
        return base::fail_sys(fmt::format("open {}", path));
    file.fd = fd.get();
    file.flags = static_cast<uint32_t>(flags);
    file.link = link.empty() ? TRY(kernel::read_link(AT_FDCWD, path.c_str())) : std::move(link);
    file.id = context_->new_id();
    file.holder = task.pid;
    file.voice = task.voice;
    const FileId id = file.id;
    TRY(dump(*TRY(kind_of(file)), file));
    paths_.emplace(key, id);
    return id;
}

} // namespace dump
