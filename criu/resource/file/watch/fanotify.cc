// fanotify(7): marks on inodes, mounts and file systems. They are set as late as can be, like watches of inotify.
//
// Events that nobody has read cannot be kept: they come with the process that has caused them, and often with a
// descriptor.
#include "criu/resource/file/file.hh"
#include "criu/resource/file/watch/watch_target.hh"

#include <algorithm>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/fanotify.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace resource::fanotify {
namespace {

constexpr uint32_t kPermissionEvents = FAN_OPEN_PERM | FAN_ACCESS_PERM | FAN_OPEN_EXEC_PERM;
constexpr uint32_t kEvictable = 0x200; // FAN_MARK_EVICTABLE
constexpr uint32_t kIgnore = 0x400;    // FAN_MARK_IGNORE

bool matches(const OpenFile &file) {
    return file.link == "anon_inode:[fanotify]";
}

size_t unread_bytes_of(int fd) {
    int bytes = 0;
    return ioctl(fd, FIONREAD, &bytes) == 0 && bytes > 0 ? static_cast<size_t>(bytes) : 0;
}

// ---- dump ----------------------------------------------------------------------------------------------------------

WatchedInode watched_of(const parse::FanotifyMark &mark) {
    return {mark.inode, mark.sdev, mark.handle};
}

/// Where the mount, or the file system, is.
Result<parse::Mount> mount_of(const parse::FanotifyMark &mark, const Mounts &mounts) {
    for (const parse::Mount &mount : mounts.all)
        if (mark.target == parse::FanotifyTarget::Mount ? mount.id == mark.mnt_id : device_of(mount) == mark.sdev)
            return mount;
    return base::unsupported(mark.target == parse::FanotifyTarget::Mount
                                 ? fmt::format("it watches the mount {}, which is not in this namespace", mark.mnt_id)
                                 : fmt::format("it watches the file system {}:{}, which is not mounted here",
                                               mark.sdev >> 20, mark.sdev & 0xfffff));
}

Result<void> examine_marks(const parse::FanotifyInfo &info) {
    for (const parse::FanotifyMark &mark : info.marks) {
        if (mark.target == parse::FanotifyTarget::MountNamespace)
            return base::unsupported("it watches what is mounted in a namespace (FAN_MARK_MNTNS)");
        // Whatever is opened there would wait for an answer of a task that is stopped.
        if (mark.target != parse::FanotifyTarget::Inode && (mark.mask & kPermissionEvents))
            return base::unsupported("it decides about the use of files of a whole mount or file system");
    }
    return {};
}

Result<parse::FanotifyInfo> info_of(const OpenFile &file) {
    auto info = TRY(parse::parse_fdinfo(file.fdinfo));
    if (!info.fanotify)
        return base::unsupported("its marks are not in fdinfo");
    const bool decides = std::ranges::any_of(
        info.fanotify->marks, [](const parse::FanotifyMark &mark) { return (mark.mask & kPermissionEvents) != 0; });
    if (decides && unread_bytes_of(file.fd))
        return base::fail(
            base::Error(base::ErrorKind::Unsupported, "a task outside waits for it to decide about the use of a file")
                .hint("dump again when the program has answered"));
    TRY(examine_marks(*info.fanotify));
    return std::move(*info.fanotify);
}

Result<void> dump_mark(FileDumpContext &context, const parse::FanotifyMark &mark, img::fanotify_mark_entry *entry) {
    entry->set_id(0);
    entry->set_mflags(mark.mflags);
    entry->set_mask(mark.mask);
    entry->set_ignored_mask(mark.ignored_mask);
    entry->set_s_dev(static_cast<uint32_t>(mark.sdev));
    if (mark.target == parse::FanotifyTarget::Inode) {
        entry->set_type(img::INODE);
        entry->mutable_ie()->set_i_ino(mark.inode);
        return dump_watched(context, watched_of(mark), entry->mutable_ie()->mutable_f_handle());
    }
    const parse::Mount mount = TRY(mount_of(mark, TRY(mounts_of(context.mounts))));
    entry->set_type(img::MOUNT);
    entry->set_s_dev(static_cast<uint32_t>(device_of(mount)));
    entry->mutable_me()->set_mnt_id(static_cast<uint32_t>(mount.id));
    entry->mutable_me()->set_path(mount.mount_point);
    if (mark.target == parse::FanotifyTarget::Superblock)
        entry->set_file_system(true);
    return {};
}

Result<void> dump(FileDumpContext &context, const OpenFile &file, img::file_entry &entry) {
    const parse::FanotifyInfo info = TRY(info_of(file));
    if (const size_t bytes = unread_bytes_of(file.fd))
        context.log.warn(fmt::format("fd {} (fanotify) holds {} unread events: they will be lost", file.number,
                                     bytes / FAN_EVENT_METADATA_LEN));
    img::fanotify_file_entry *fanotify = entry.mutable_ffy();
    fanotify->set_id(file.id.value);
    fanotify->set_flags(file.flags & ~static_cast<uint32_t>(O_CLOEXEC));
    TRY(dump_owner(context, file, fanotify->mutable_fown()));
    fanotify->set_faflags(info.flags);
    fanotify->set_evflags(info.event_flags);
    for (const parse::FanotifyMark &mark : info.marks)
        TRY(dump_mark(context, mark, fanotify->add_mark()));
    return {};
}

Result<void> examine(const OpenFile &file, const Examined &known) {
    const parse::FanotifyInfo info = TRY(info_of(file));
    for (const parse::FanotifyMark &mark : info.marks) {
        if (mark.target == parse::FanotifyTarget::Inode)
            TRY(examine_watched(known.options, watched_of(mark)));
        else
            TRY(mount_of(mark, TRY(own_mounts())));
    }
    return {};
}

// ---- restore -------------------------------------------------------------------------------------------------------

std::optional<uint32_t> ghost_of(const WatchedGhosts &ghosts, const img::fanotify_mark_entry &mark) {
    return mark.type() == img::INODE ? ghosts.find(mark.ie().i_ino(), mark.s_dev()) : std::nullopt;
}

Result<base::UniqueFd> open_target(const std::string &root, const img::fanotify_mark_entry &mark) {
    if (mark.type() == img::INODE)
        return open_watched(root, mark.ie().f_handle(), mark.ie().i_ino(), mark.s_dev());
    base::UniqueFd fd = open_in_tree(root, mark.me().path());
    if (!fd)
        return base::fail_sys(fmt::format("open the watched mount \"{}\"", mark.me().path()));
    return fd;
}

Result<void> validate(FileOpenContext &context, const img::fanotify_file_entry &fanotify) {
    auto &ghosts = context.kept.of<WatchedGhosts>();
    TRY(load_watched_ghosts(ghosts, context.images, context.remaps));
    for (const img::fanotify_mark_entry &mark : fanotify.mark()) {
        if (mark.type() == img::INODE ? !mark.has_ie() : !mark.has_me() || !mark.me().path().starts_with('/'))
            return base::bad_image("a mark of fanotify that does not say where it is");
        if (ghost_of(ghosts, mark) || (mark.has_ie() && is_watched_late(mark.ie().f_handle())))
            continue;
        TRY(open_target(std::string(), mark));
    }
    return {};
}

Result<base::UniqueFd> open_file(FileOpenContext &context, const img::file_entry &entry) {
    const img::fanotify_file_entry &fanotify = entry.ffy();
    TRY(validate(context, fanotify));
    // Exactly as it was: close-on-exec belongs to the numbers, but fdinfo shows this flag for ever.
    base::UniqueFd fd(fanotify_init(fanotify.faflags(), fanotify.evflags()));
    if (!fd)
        return base::fail_sys("fanotify_init");
    if (fcntl(fd.get(), F_SETFL, static_cast<int>(fanotify.flags() & O_NONBLOCK)) < 0)
        return base::fail_sys("fcntl(F_SETFL)");
    return fd;
}

Result<std::vector<FileId>> carries(const FileImages &images, const img::file_entry &entry) {
    auto &ghosts = images.states.of<WatchedGhosts>();
    TRY(load_watched_ghosts(ghosts, images.images, images.remaps));
    std::vector<FileId> ids;
    for (const img::fanotify_mark_entry &mark : entry.ffy().mark())
        if (auto id = ghost_of(ghosts, mark))
            ids.push_back(FileId(*id));
    return ids;
}

Result<void> mark_path(int fd, const img::fanotify_mark_entry &mark, uint32_t flags, uint32_t mask, int target) {
    const uint32_t where = mark.type() == img::INODE ? FAN_MARK_INODE
                           : mark.file_system()      ? FAN_MARK_FILESYSTEM
                                                     : FAN_MARK_MOUNT;
    if (mask && fanotify_mark(fd, FAN_MARK_ADD | where | flags | (mark.mflags() & kEvictable), mask, AT_FDCWD,
                              path_of_descriptor(target).c_str()) < 0)
        return base::fail_sys(fmt::format("fanotify_mark, mask {:#x}", mask));
    return {};
}

Result<void> mark_target(int fd, const img::fanotify_mark_entry &mark, int target) {
    TRY(mark_path(fd, mark, 0, mark.mask(), target));
    const uint32_t ignores = mark.mflags() & kIgnore ? kIgnore : FAN_MARK_IGNORED_MASK;
    return mark_path(fd, mark, ignores | (mark.mflags() & FAN_MARK_IGNORED_SURV_MODIFY), mark.ignored_mask(), target);
}

/// The kernel lists the newest first.
Result<void> mark_rest(const std::string &root, const WatchedGhosts &ghosts, int fd,
                       const img::fanotify_file_entry &fanotify) {
    for (int i = fanotify.mark_size() - 1; i >= 0; i--) {
        const img::fanotify_mark_entry &mark = fanotify.mark(i);
        if (ghost_of(ghosts, mark))
            continue;
        const auto target = TRY(open_target(root, mark));
        TRY(mark_target(fd, mark, target.get()));
    }
    return {};
}

Result<void> settle(FileSettleContext &context, int fd, const img::file_entry &entry) {
    if (context.first_holder) {
        for (const img::fanotify_mark_entry &mark : entry.ffy().mark())
            if (auto id = ghost_of(context.kept.of<WatchedGhosts>(), mark)) {
                auto target = context.opened.find(*id);
                if (target == context.opened.end())
                    return base::bad_image(fmt::format("the watched file {} is missing", *id));
                TRY(mark_target(fd, mark, target->second));
            }
        if (!context.is_held(entry.id())) // it is on its way through a socket: nobody will have it at hand later
            TRY(mark_rest(std::string(), context.kept.of<WatchedGhosts>(), fd, entry.ffy()));
    }
    return restore_owner(fd, entry.ffy().fown(), entry.ffy().flags());
}

Result<void> release(FileReleaseContext &context, int fd, const img::file_entry &entry) {
    auto &ghosts = context.states.of<WatchedGhosts>();
    TRY(load_watched_ghosts(ghosts, context.images, context.remaps));
    return mark_rest(context.root, ghosts, fd, entry.ffy());
}

} // namespace

extern const FileKind kKind{
    .name = "fanotify",
    .type = img::FANOTIFY,
    .about = {.saved =
                  "flags, marks on inodes (deleted ones too), mounts and file systems, their masks and ignore masks",
              .restored = "marks are set right before the tree runs",
              .limits = "events that were not read are lost, with a warning, and refused where a task waits for the "
                        "answer; marks on mount namespaces, and decisions about whole mounts, are refused; a group of "
                        "an unprivileged user becomes one of root's"},
    .matches = matches,
    .dump = dump,
    .carries = carries,
    .open = open_file,
    .settle = settle,
    .release = release,
    .examine = examine};

} // namespace resource::fanotify
