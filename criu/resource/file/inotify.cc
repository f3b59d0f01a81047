// inotify(7): watches by number. They are set by the coordinator as the last thing before the tree runs, so that
// nothing that the restore does is an event.
//
// Events that nobody has read can neither be looked at without taking them, nor be made again. The program is told so
// in the way that the interface has for it: the restored queue begins with IN_Q_OVERFLOW, after which a program looks
// at everything anew.
#include "criu/kernel/io.hh"
#include "criu/resource/file/watched_object.hh"

#include <algorithm>
#include <climits>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace resource {
namespace {

constexpr unsigned long kSetNextWatch = _IOW('I', 0, int32_t); // INOTIFY_IOC_SETNEXTWD, Linux 4.16
// What inotify_add_watch(2) takes; fdinfo shows bits of the kernel's own as well.
constexpr uint32_t kMask = IN_ALL_EVENTS | IN_EXCL_UNLINK | IN_ONESHOT;

bool matches(const OpenFile &file) {
    return file.link == "anon_inode:inotify" || file.link == "inotify";
}

// ---- dump ----------------------------------------------------------------------------------------------------------

struct Postponed {
    struct One {
        base::UniqueFd fd; ///< shares the description
        OpenFile file;
        std::vector<parse::InotifyMark> marks;
        img::file_entry entry;
    };
    std::vector<One> files;
};

Result<void> dump(FileDumpContext &context, const OpenFile &file, img::file_entry &entry) {
    img::inotify_file_entry *inotify = entry.mutable_ify();
    inotify->set_id(file.id.value);
    inotify->set_flags(file.flags);
    TRY(dump_owner(file, inotify->mutable_fown()));
    base::UniqueFd fd(fcntl(file.fd, F_DUPFD_CLOEXEC, 0));
    if (!fd)
        return base::fail_sys("keep inotify at hand");
    auto info = TRY(parse::parse_fdinfo(file.fdinfo));
    context.states.of<Postponed>().files.push_back({std::move(fd), file, std::move(info.inotify), entry});
    context.postponed = true;
    return {};
}

/// Of an event that names an entry of a directory: the name ends with a zero and is filled up to the size of the head.
size_t size_of_event(const std::string &name) {
    constexpr size_t kHead = sizeof(inotify_event);
    return kHead + (name.size() + kHead) / kHead * kHead;
}

/// Bytes of the events that the names made by this dump (--link-remap) have caused.
size_t caused_by_us(const FileDumpContext &context, const img::inotify_file_entry &inotify) {
    size_t bytes = 0;
    for (const std::filesystem::path link : context.links)
        for (const img::inotify_wd_entry &watch : inotify.wd())
            if ((watch.mask() & IN_CREATE) && watch.f_handle().path() == link.parent_path())
                bytes += size_of_event(link.filename());
    return bytes;
}

Result<void> count_unread(FileDumpContext &context, const Postponed::One &one, img::inotify_file_entry *inotify) {
    uint32_t unread = 0;
    if (ioctl(one.fd.get(), FIONREAD, &unread) < 0)
        return base::fail_sys("FIONREAD of inotify");
    if (unread <= caused_by_us(context, *inotify))
        return {};
    context.log.warn(fmt::format("fd {} of task {}: events of inotify that were not read ({} bytes) are not kept; the "
                                 "restored program will be told (IN_Q_OVERFLOW)",
                                 one.file.number, one.file.holder.value, unread));
    inotify->set_unread(unread);
    return {};
}

Result<void> finish_one(FileDumpContext &context, Postponed::One &one) {
    std::ranges::sort(one.marks, {}, &parse::InotifyMark::wd);
    for (const parse::InotifyMark &mark : one.marks) {
        img::inotify_wd_entry *watch = one.entry.mutable_ify()->add_wd();
        watch->set_id(one.file.id.value);
        watch->set_i_ino(mark.inode);
        watch->set_mask(mark.mask);
        watch->set_ignored_mask(mark.ignored_mask);
        watch->set_s_dev(static_cast<uint32_t>(mark.sdev));
        watch->set_wd(static_cast<uint32_t>(mark.wd));
        TRY_CTX(
            dump_watched(context,
                         {.device = mark.sdev, .inode = mark.inode, .handle = mark.handle ? &*mark.handle : nullptr},
                         watch->mutable_f_handle()),
            fmt::format("watch {}", mark.wd));
    }
    TRY(count_unread(context, one, one.entry.mutable_ify()));
    return context.images.add(image::ImageKind::Files, 0, one.entry);
}

Result<void> finish(FileDumpContext &context) {
    for (Postponed::One &one : context.states.of<Postponed>().files)
        TRY_CTX(finish_one(context, one),
                fmt::format("fd {} of task {} (inotify)", one.file.number, one.file.holder.value));
    return {};
}

// ---- restore -------------------------------------------------------------------------------------------------------

Result<base::UniqueFd> open_file(FileOpenContext &context, const img::file_entry &entry) {
    // What cannot be watched any more is better known now than when everything is in place.
    for (const img::inotify_wd_entry &watch : entry.ify().wd())
        if (!watch.f_handle().has_file())
            TRY_CTX(open_watched(context.states, watch.f_handle(), watch.s_dev(), watch.i_ino(), {}),
                    fmt::format("watch {}", watch.wd()));
    base::UniqueFd fd(inotify_init1(IN_CLOEXEC | (entry.ify().flags() & O_NONBLOCK ? IN_NONBLOCK : 0)));
    if (!fd)
        return base::fail_sys("inotify_init1");
    return fd;
}

Result<void> settle(FileSettleContext &, int fd, const img::file_entry &entry) {
    return restore_owner(fd, entry.ify().fown(), entry.ify().flags());
}

Result<void> add_at(int fd, int object, int32_t number, uint32_t mask) {
    if (ioctl(fd, kSetNextWatch, number) < 0)
        return base::fail_sys("INOTIFY_IOC_SETNEXTWD");
    const int got = inotify_add_watch(fd, descriptor_path(object).c_str(), mask);
    if (got < 0)
        return base::fail_sys("inotify_add_watch");
    if (got != number)
        return base::fail(base::ErrorKind::System,
                          fmt::format("its object is the same as that of watch {}: there is one watch for both", got));
    return {};
}

/// Leaves the kernel's own IN_Q_OVERFLOW in the queue: overfills it with reads and writes of a file of ours, and takes
/// these events out. While the queue is full nothing is added to it, not even the end of the watch.
Result<void> overflow(int fd) {
    constexpr int32_t kHighest = INT_MAX - 1;
    const auto limit = TRY(kernel::read_file(AT_FDCWD, "/proc/sys/fs/inotify/max_queued_events"));
    const auto events = static_cast<size_t>(std::strtoul(limit.c_str(), nullptr, 10));
    base::UniqueFd scratch(memfd_create("inotify", MFD_CLOEXEC));
    // The descriptor that memfd_create(2) returns causes no events.
    base::UniqueFd file(open(descriptor_path(scratch.get()).c_str(), O_RDWR | O_CLOEXEC));
    char byte = 0;
    if (!file || pwrite(file.get(), &byte, 1, 0) != 1)
        return base::fail_sys("make a file to watch");
    TRY(add_at(fd, file.get(), kHighest, IN_ACCESS | IN_MODIFY));
    for (size_t i = 0; i <= events; i += 2) // of two same events in a row the second is left out
        if (pread(file.get(), &byte, 1, 0) != 1 || pwrite(file.get(), &byte, 1, 0) != 1)
            return base::fail_sys("cause events");
    if (inotify_rm_watch(fd, kHighest) < 0)
        return base::fail_sys("inotify_rm_watch");
    std::vector<char> taken(events * sizeof(inotify_event));
    const ssize_t n = read(fd, taken.data(), taken.size());
    int left = 0;
    if (n < 0 || ioctl(fd, FIONREAD, &left) < 0)
        return base::fail_sys("read from inotify");
    if (left != sizeof(inotify_event))
        return base::fail(base::ErrorKind::System, "the queue of inotify did not overflow as it should");
    return {};
}

Result<void> add_watches(KindStates &states, int fd, const img::inotify_file_entry &inotify, const Borrow &borrow) {
    if (inotify.unread())
        TRY(overflow(fd));
    int32_t next = 1;
    for (const img::inotify_wd_entry &watch : inotify.wd()) {
        if (watch.wd() == 0 || watch.wd() >= INT_MAX)
            return base::bad_image(fmt::format("watch {} has an impossible number", watch.wd()));
        const auto number = static_cast<int32_t>(watch.wd());
        auto add = [&]() -> Result<void> {
            auto object = TRY(open_watched(states, watch.f_handle(), watch.s_dev(), watch.i_ino(), borrow));
            return add_at(fd, object.get(), number, watch.mask() & kMask);
        };
        TRY_CTX(add(), fmt::format("watch {}", watch.wd()));
        next = std::max(next, number + 1);
    }
    if (ioctl(fd, kSetNextWatch, next) < 0)
        return base::fail_sys("INOTIFY_IOC_SETNEXTWD");
    return {};
}

Result<void> release(FileReleaseContext &context, int fd, const img::file_entry &entry) {
    return add_watches(context.states, fd, entry.ify(), context.borrow);
}

/// What no task has as a descriptor (it is on its way through a socket) is never released.
Result<void> complete(FileOpenContext &context, int fd, const img::file_entry &entry) {
    return context.is_held(entry.id()) ? Result<void>{}
                                       : add_watches(context.states, fd, entry.ify(), borrow_from(context));
}

} // namespace

const FileKind kInotify{
    .name = "inotify",
    .type = img::INOTIFY,
    .about = {.saved = "watches with their numbers and masks, by path and by file handle; of deleted objects that a "
                       "task has open, too",
              .restored = "events of the restore itself are not seen",
              .limits = "events that were not read are replaced by one IN_Q_OVERFLOW; objects of file systems without "
                        "file handles (/proc) are refused"},
    .matches = matches,
    .dump = dump,
    .finish = finish,
    .open = open_file,
    .complete = complete,
    .settle = settle,
    .release = release};

} // namespace resource
