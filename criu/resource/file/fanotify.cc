// fanotify(7): groups with marks on objects, mounts and file systems, which the coordinator sets as the last thing
// before the tree runs. A mark has two masks; the one of what is ignored takes a call of its own.
#include "criu/resource/file/watched_object.hh"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/fanotify.h>
#include <sys/ioctl.h>
#include <unistd.h>

#ifndef FAN_MARK_EVICTABLE
#define FAN_MARK_EVICTABLE 0x200
#endif
#ifndef FAN_MARK_IGNORE
#define FAN_MARK_IGNORE 0x400
#endif

namespace resource {
namespace {

constexpr uint64_t kPermissionEvents = FAN_OPEN_PERM | FAN_ACCESS_PERM | FAN_OPEN_EXEC_PERM | 0x100000; // PRE_ACCESS

bool matches(const OpenFile &file) {
    return file.link == "anon_inode:[fanotify]";
}

// ---- dump ----------------------------------------------------------------------------------------------------------

struct Postponed {
    struct One {
        OpenFile file;
        parse::FanotifyInfo info;
        img::file_entry entry;
    };
    std::vector<One> files;
};

Result<void> check(const parse::FanotifyInfo &info) {
    for (const parse::FanotifyMark &mark : info.marks) {
        if (mark.mask & kPermissionEvents)
            return base::fail(
                base::Error(base::ErrorKind::Unsupported, "it decides about the file accesses of other processes")
                    .hint("whoever waits for its answer would wait for as long as it is frozen: stop the service"));
        if (mark.target == parse::FanotifyTarget::MountNamespace)
            return base::unsupported("it watches a whole mount namespace");
    }
    return {};
}

Result<void> dump(FileDumpContext &context, const OpenFile &file, img::file_entry &entry) {
    auto info = TRY(parse::parse_fdinfo(file.fdinfo));
    if (!info.fanotify)
        return base::unsupported("its marks are not in fdinfo");
    TRY(check(*info.fanotify));
    img::fanotify_file_entry *group = entry.mutable_ffy();
    group->set_id(file.id.value);
    group->set_flags(file.flags);
    TRY(dump_owner(file, group->mutable_fown()));
    group->set_faflags(info.fanotify->flags);
    group->set_evflags(info.fanotify->event_flags);
    int unread = 0;
    if (ioctl(file.fd, FIONREAD, &unread) == 0 && unread) {
        context.log.warn(fmt::format("fd {} of task {}: events of fanotify that were not read ({} bytes) are not kept",
                                     file.number, file.holder.value, unread));
        group->set_unread(static_cast<uint32_t>(unread));
    }
    context.states.of<Postponed>().files.push_back({file, std::move(*info.fanotify), entry});
    context.postponed = true;
    return {};
}

Result<void> write_mark(FileDumpContext &context, const parse::FanotifyMark &mark, img::fanotify_mark_entry *entry) {
    entry->set_mflags(mark.mflags);
    entry->set_mask(mark.mask);
    entry->set_ignored_mask(mark.ignored_mask);
    entry->set_s_dev(static_cast<uint32_t>(mark.sdev));
    if (mark.target == parse::FanotifyTarget::Inode) {
        entry->set_type(img::INODE);
        entry->mutable_ie()->set_i_ino(mark.inode);
        return dump_watched(context,
                            {.device = mark.sdev, .inode = mark.inode, .handle = mark.handle ? &*mark.handle : nullptr},
                            entry->mutable_ie()->mutable_f_handle());
    }
    const bool whole = mark.target == parse::FanotifyTarget::Superblock;
    const auto mount =
        whole ? TRY(mount_of_device(context.states, mark.sdev)) : TRY(mount_of(context.states, mark.mnt_id));
    if (!mount)
        return base::unsupported("it watches a mount that is not visible here");
    entry->set_type(img::MOUNT);
    entry->mutable_me()->set_mnt_id(static_cast<uint32_t>(mount->id));
    entry->mutable_me()->set_path(mount->path);
    if (whole)
        entry->set_superblock(true);
    return {};
}

Result<void> finish_one(FileDumpContext &context, Postponed::One &one) {
    for (const parse::FanotifyMark &mark : one.info.marks) {
        img::fanotify_mark_entry *entry = one.entry.mutable_ffy()->add_mark();
        entry->set_id(one.file.id.value);
        TRY(write_mark(context, mark, entry));
    }
    return context.images.add(image::ImageKind::Files, 0, one.entry);
}

Result<void> finish(FileDumpContext &context) {
    for (Postponed::One &one : context.states.of<Postponed>().files)
        TRY_CTX(finish_one(context, one),
                fmt::format("fd {} of task {} (fanotify)", one.file.number, one.file.holder.value));
    return {};
}

// ---- restore -------------------------------------------------------------------------------------------------------

/// An O_PATH descriptor of what the mark is on.
Result<base::UniqueFd> open_target(KindStates &states, const img::fanotify_mark_entry &mark, const Borrow &borrow) {
    if (mark.type() == img::INODE)
        return open_watched(states, mark.ie().f_handle(), mark.s_dev(), mark.ie().i_ino(), borrow);
    std::string path = mark.me().path();
    if (path.empty())
        if (auto mount = TRY(mount_of(states, static_cast<int32_t>(mark.me().mnt_id()))))
            path = mount->path;
    base::UniqueFd fd(open(path.c_str(), O_PATH | O_CLOEXEC));
    if (!fd)
        return base::fail_sys(fmt::format("open the watched mount {}", path));
    return fd;
}

Result<base::UniqueFd> open_file(FileOpenContext &context, const img::file_entry &entry) {
    const img::fanotify_file_entry &group = entry.ffy();
    for (const img::fanotify_mark_entry &mark : group.mark())
        if (!mark.ie().f_handle().has_file())
            TRY(open_target(context.states, mark, {}));
    if (group.unread())
        context.log.warn(
            fmt::format("file {}: events of fanotify that were not read at the dump are not there", entry.id()));
    base::UniqueFd fd(fanotify_init(group.faflags(), group.evflags()));
    if (!fd)
        return base::fail_sys("fanotify_init");
    // Not FAN_CLOEXEC: the group remembers what it was made with.
    if (fcntl(fd.get(), F_SETFD, FD_CLOEXEC) < 0 ||
        fcntl(fd.get(), F_SETFL, static_cast<int>(group.flags() & O_NONBLOCK)) < 0)
        return base::fail_sys("fcntl(F_SETFL)");
    return fd;
}

Result<void> settle(FileSettleContext &, int fd, const img::file_entry &entry) {
    return restore_owner(fd, entry.ffy().fown(), entry.ffy().flags());
}

Result<void> add_mark(KindStates &states, int fd, const img::fanotify_mark_entry &mark, const Borrow &borrow) {
    const base::UniqueFd target = TRY(open_target(states, mark, borrow));
    const std::string path = descriptor_path(target.get());
    unsigned where = FAN_MARK_ADD;
    if (mark.type() == img::MOUNT)
        where |= mark.superblock() ? FAN_MARK_FILESYSTEM : FAN_MARK_MOUNT;
    where |= mark.mflags() & FAN_MARK_EVICTABLE;
    if (mark.mask() && fanotify_mark(fd, where, mark.mask(), AT_FDCWD, path.c_str()) < 0)
        return base::fail_sys("fanotify_mark");
    if (!mark.ignored_mask())
        return {};
    // Two ways to ignore: the newer respects FAN_ONDIR and FAN_EVENT_ON_CHILD in the mask.
    where |= mark.mflags() & FAN_MARK_IGNORE ? FAN_MARK_IGNORE : FAN_MARK_IGNORED_MASK;
    where |= mark.mflags() & FAN_MARK_IGNORED_SURV_MODIFY;
    if (fanotify_mark(fd, where, mark.ignored_mask(), AT_FDCWD, path.c_str()) < 0)
        return base::fail_sys("fanotify_mark of what is ignored");
    return {};
}

/// The kernel lists the newest mark first.
Result<void> add_marks(KindStates &states, int fd, const img::fanotify_file_entry &group, const Borrow &borrow) {
    for (int i = group.mark_size(); i-- > 0;)
        TRY(add_mark(states, fd, group.mark(i), borrow));
    return {};
}

Result<void> release(FileReleaseContext &context, int fd, const img::file_entry &entry) {
    return add_marks(context.states, fd, entry.ffy(), context.borrow);
}

/// What no task has as a descriptor (it is on its way through a socket) is never released.
Result<void> complete(FileOpenContext &context, int fd, const img::file_entry &entry) {
    return context.is_held(entry.id()) ? Result<void>{}
                                       : add_marks(context.states, fd, entry.ffy(), borrow_from(context));
}

} // namespace

const FileKind kFanotify{
    .name = "fanotify",
    .type = img::FANOTIFY,
    .about = {.saved = "flags of the group, marks on objects, mounts and file systems with both masks",
              .restored = "events of the restore itself are not seen",
              .limits = "events that were not read are lost, with a warning; groups that decide about the accesses of "
                        "others, and marks of mount namespaces, are refused"},
    .matches = matches,
    .dump = dump,
    .finish = finish,
    .open = open_file,
    .complete = complete,
    .settle = settle,
    .release = release};

} // namespace resource
