// inotify(7): watches on inodes, under numbers that the program knows, and a queue of events (inotify_queue.hh).
//
// Watches are added as late as can be: until the tree runs, the restore opens, links and removes files. What is deleted
// is only at hand while descriptors are placed; so these watches come first, and nothing is done to their files later.
#include "criu/resource/file/file.hh"
#include "criu/resource/file/watch/inotify_queue.hh"
#include "criu/resource/file/watch/watch_target.hh"

#include <algorithm>
#include <climits>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/inotify.h>
#include <unistd.h>

namespace resource::inotify {
namespace {

/// What fdinfo tells of a mask and inotify_add_watch takes. The rest was about adding the watch (IN_ONLYDIR, ...).
constexpr uint32_t kKept = IN_ALL_EVENTS | IN_EXCL_UNLINK | IN_ONESHOT;

// ---- dump ----------------------------------------------------------------------------------------------------------

bool matches(const OpenFile &file) {
    return file.link == "anon_inode:inotify";
}

WatchedInode watched_of(const parse::InotifyMark &mark) {
    return {mark.inode, mark.sdev, mark.handle};
}

std::string name_of(int number) {
    return fmt::format("watch {}", number);
}

/// Takes out the new names that --link-remap has made in watched directories. The IN_ATTRIB of the file stays: it may
/// be one with an event of the program's.
void forget_own(const FileDumpContext &context, std::vector<WatchEvent> &events) {
    for (auto &[object, id] : context.link_remaps) {
        const std::string name = fmt::format("link_remap.{}", id);
        std::erase_if(events, [&](const WatchEvent &event) { return event.mask == IN_CREATE && event.name == name; });
    }
}

/// Takes the events out, and writes the entry: the tree is about to end.
Result<void> dump_queue(FileDumpContext &context, int fd, img::file_entry entry) {
    img::ext_inotify *ext = entry.mutable_ify()->mutable_ext();
    std::vector<WatchEvent> events = TRY(take_events(fd));
    forget_own(context, events);
    for (const WatchEvent &event : events) {
        img::ext_inotify_event *unread = ext->add_unread();
        unread->set_wd(event.watch);
        unread->set_mask(event.mask);
        unread->set_cookie(event.cookie);
        unread->set_name(event.name);
    }
    ext->set_next_wd(static_cast<uint32_t>(TRY(probe_next_watch(fd))));
    return context.images.add(image::ImageKind::Files, 0, entry);
}

Result<void> leave_events(FileDumpContext &context, const OpenFile &file, img::inotify_file_entry &inotify) {
    const size_t bytes = unread_bytes(file.fd);
    if (!bytes)
        return {};
    context.log.warn(fmt::format("fd {} (inotify) holds {} bytes of unread events, which a dump cannot save without "
                                 "ending the tree: a restore will tell the program that events are lost "
                                 "(IN_Q_OVERFLOW)",
                                 file.number, bytes));
    inotify.mutable_ext()->set_lost(true);
    return {};
}

/// Whose events are taken out when all else is known to be fine.
struct Unread {
    struct Queue {
        base::UniqueFd fd;
        img::file_entry entry;
    };
    std::vector<Queue> queues;
};

Result<void> plan_queue(FileDumpContext &context, const OpenFile &file, const img::file_entry &entry) {
    base::UniqueFd kept(fcntl(file.fd, F_DUPFD_CLOEXEC, 0));
    if (!kept)
        return base::fail_sys("keep a descriptor");
    constexpr size_t kGrowth = 4; // of an event in the image, at most
    context.postponed = true;
    context.destructive_bytes += entry.ByteSizeLong() + unread_bytes(file.fd) * kGrowth + 64;
    context.states.of<Unread>().queues.push_back({std::move(kept), entry});
    return {};
}

Result<bool> dump_queues(FileDumpContext &context) {
    const auto queues = std::exchange(context.states.of<Unread>().queues, {});
    for (const Unread::Queue &queue : queues)
        TRY(dump_queue(context, queue.fd.get(), queue.entry));
    return !queues.empty();
}

Result<void> dump(FileDumpContext &context, const OpenFile &file, img::file_entry &entry) {
    const auto info = TRY(parse::parse_fdinfo(file.fdinfo));
    img::inotify_file_entry &inotify = *entry.mutable_ify();
    inotify.set_id(file.id.value);
    inotify.set_flags(file.flags & ~static_cast<uint32_t>(O_CLOEXEC));
    TRY(dump_owner(context, file, inotify.mutable_fown()));
    for (const parse::InotifyMark &mark : info.inotify) {
        img::inotify_wd_entry *watch = inotify.add_wd();
        watch->set_id(0);
        watch->set_i_ino(mark.inode);
        watch->set_mask(mark.mask);
        watch->set_ignored_mask(mark.ignored_mask);
        watch->set_s_dev(static_cast<uint32_t>(mark.sdev));
        watch->set_wd(static_cast<uint32_t>(mark.wd));
        TRY_CTX(dump_watched(context, watched_of(mark), watch->mutable_f_handle()), name_of(mark.wd));
    }
    return context.options.tree_survives ? leave_events(context, file, inotify) : plan_queue(context, file, entry);
}

Result<void> examine(const OpenFile &file, const Examined &known) {
    const auto info = TRY(parse::parse_fdinfo(file.fdinfo));
    for (const parse::InotifyMark &mark : info.inotify)
        TRY_CTX(examine_watched(known.options, watched_of(mark)), name_of(mark.wd));
    return {};
}

// ---- restore -------------------------------------------------------------------------------------------------------

std::optional<uint32_t> ghost_of(const WatchedGhosts &ghosts, const img::inotify_wd_entry &watch) {
    return ghosts.find(watch.i_ino(), watch.s_dev());
}

/// Everything that can be wrong shows before anything is created.
Result<void> validate(FileOpenContext &context, const img::inotify_file_entry &inotify) {
    auto &ghosts = context.kept.of<WatchedGhosts>();
    TRY(load_watched_ghosts(ghosts, context.images, context.remaps));
    for (const img::inotify_wd_entry &watch : inotify.wd()) {
        if (watch.wd() < 1 || watch.wd() >= INT_MAX || !(watch.mask() & kKept & IN_ALL_EVENTS))
            return base::bad_image(fmt::format("watch {} with the mask {:#x}", watch.wd(), watch.mask()));
        if (is_watched_late(watch.f_handle()) || ghost_of(ghosts, watch))
            continue;
        TRY_CTX(open_watched(std::string(), watch.f_handle(), watch.i_ino(), watch.s_dev()),
                name_of(static_cast<int>(watch.wd())));
    }
    return {};
}

Result<base::UniqueFd> create(const img::inotify_file_entry &inotify) {
    base::UniqueFd fd(inotify_init1(IN_CLOEXEC | (inotify.flags() & O_NONBLOCK ? IN_NONBLOCK : 0)));
    if (!fd)
        return base::fail_sys("inotify_init1");
    return fd;
}

std::vector<WatchEvent> unread_of(const img::inotify_file_entry &inotify) {
    std::vector<WatchEvent> events;
    for (const img::ext_inotify_event &event : inotify.ext().unread())
        events.push_back({event.wd(), event.mask(), event.cookie(), event.name()});
    return events;
}

Result<base::UniqueFd> open_file(FileOpenContext &context, const img::file_entry &entry) {
    const img::inotify_file_entry &inotify = entry.ify();
    TRY(validate(context, inotify));
    base::UniqueFd fd = TRY(create(inotify));
    const auto events = unread_of(inotify);
    if (events.empty() && !inotify.ext().lost())
        return fd;
    const Result<void> put = put_events(fd.get(), events, inotify.ext().lost());
    if (put)
        return fd;
    context.log.warn(fmt::format("file {} (inotify): {} unread events cannot be put back: {}", entry.id(),
                                 events.size(), put.error().message()));
    fd = TRY(create(inotify));
    if (const Result<void> told = put_events(fd.get(), {}, true); !told) {
        context.log.warn(
            fmt::format("file {} (inotify): the program is not told about it: {}", entry.id(), told.error().message()));
        return create(inotify);
    }
    return fd;
}

/// Files that stand for deleted ones have to exist.
Result<std::vector<FileId>> carries(const FileImages &images, const img::file_entry &entry) {
    auto &ghosts = images.states.of<WatchedGhosts>();
    TRY(load_watched_ghosts(ghosts, images.images, images.remaps));
    std::vector<FileId> ids;
    for (const img::inotify_wd_entry &watch : entry.ify().wd())
        if (auto id = ghost_of(ghosts, watch))
            ids.push_back(FileId(*id));
    return ids;
}

Result<void> watch_descriptor(int fd, const img::inotify_wd_entry &watch, int target) {
    const auto number = static_cast<int>(watch.wd());
    TRY_CTX(add_watch(fd, number, path_of_descriptor(target), watch.mask() & kKept), name_of(number));
    return {};
}

/// Watches what has a name, and sets the number of the watch that will be added next.
Result<void> watch_rest(const std::string &root, const WatchedGhosts &ghosts, int fd, const img::file_entry &entry) {
    uint32_t next = 1;
    for (const img::inotify_wd_entry &watch : entry.ify().wd()) {
        next = std::max(next, watch.wd() + 1);
        if (ghost_of(ghosts, watch))
            continue;
        const auto target = TRY_CTX(open_watched(root, watch.f_handle(), watch.i_ino(), watch.s_dev()),
                                    name_of(static_cast<int>(watch.wd())));
        TRY(watch_descriptor(fd, watch, target.get()));
    }
    if (entry.ify().ext().has_next_wd())
        next = entry.ify().ext().next_wd();
    return set_next_watch(fd, static_cast<int>(std::clamp(next, 1u, static_cast<uint32_t>(INT_MAX))));
}

Result<void> watch_ghosts(FileSettleContext &context, int fd, const img::file_entry &entry) {
    for (const img::inotify_wd_entry &watch : entry.ify().wd()) {
        const auto id = ghost_of(context.kept.of<WatchedGhosts>(), watch);
        if (!id)
            continue;
        auto target = context.opened.find(*id);
        if (target == context.opened.end())
            return base::bad_image(fmt::format("watch {}: file {} is missing", watch.wd(), *id));
        TRY(watch_descriptor(fd, watch, target->second));
    }
    return {};
}

Result<void> settle(FileSettleContext &context, int fd, const img::file_entry &entry) {
    if (context.first_holder) {
        TRY(watch_ghosts(context, fd, entry));
        // On its way through a socket: nobody will have it at hand later.
        if (!context.is_held(entry.id()))
            TRY(watch_rest(std::string(), context.kept.of<WatchedGhosts>(), fd, entry));
    }
    return restore_owner(fd, entry.ify().fown(), entry.ify().flags());
}

Result<void> release(FileReleaseContext &context, int fd, const img::file_entry &entry) {
    auto &ghosts = context.states.of<WatchedGhosts>();
    TRY(load_watched_ghosts(ghosts, context.images, context.remaps));
    return watch_rest(context.root, ghosts, fd, entry);
}

} // namespace

extern const FileKind kKind{
    .name = "inotify",
    .type = img::INOTIFY,
    .about = {.saved =
                  "watches with their numbers and masks, by path and by file handle; the number of the next watch; "
                  "events that were not read, if the dump ends the tree; deleted files that are watched",
              .restored = "watches are added right before the tree runs; events happen again on files that nobody else "
                          "sees, with other cookies",
              .limits =
                  "of a dump that lets the tree live, the restored program gets IN_Q_OVERFLOW in place of events that "
                  "were not read, as it does for what cannot happen again (IN_UNMOUNT); watched files that neither a "
                  "handle nor a path leads to are refused (`--irmap-scan-path`)"},
    .matches = matches,
    .dump = dump,
    .destructive_step = dump_queues,
    .carries = carries,
    .open = open_file,
    .settle = settle,
    .release = release,
    .examine = examine};

} // namespace resource::inotify
