// epoll(7): a set of descriptors to watch. The kernel remembers each by its open file and the number it had when it was
// added; the number may have been closed or reused since. kcmp(KCMP_EPOLL_TFD) tells, and finds the file elsewhere in
// the tree: a restore puts it to the old number for a moment. CRIU only knows what is open: such an entry names a
// number of the holder that leads to the file, if there is one, and the old one beside it.
//
// Numbers mean something in one task only, the first that holds the set: it fills the set once its descriptors are in
// place, the other holders leave it alone. What is opened late is added late. A set on its way through a socket has no
// holder: all its numbers are old ones, looked for when all tables are known, and the root task fills it.
#include "compel/ptrace.hh"
#include "criu/parse/fdinfo.hh"
#include "criu/resource/file/file.hh"

#include <algorithm>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/kcmp.h>
#include <map>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace resource::eventpoll {
namespace {

bool matches(const OpenFile &file) {
    return file.link == "anon_inode:[eventpoll]";
}

/// struct epoll_params of linux/eventpoll.h, since Linux 6.9.
struct Params {
    uint32_t microseconds;
    uint16_t budget;
    uint8_t prefer;
    uint8_t pad;
};
constexpr unsigned long kSetParams = _IOW(0x8A, 0x01, Params); // EPIOCSPARAMS
constexpr unsigned long kGetParams = _IOR(0x8A, 0x02, Params); // EPIOCGPARAMS

void dump_busy_poll(int fd, img::eventpoll_file_entry *poll) {
    Params params{};
    if (ioctl(fd, kGetParams, &params) < 0 || (!params.microseconds && !params.budget && !params.prefer))
        return;
    poll->mutable_ext()->set_busy_poll_us(params.microseconds);
    poll->mutable_ext()->set_busy_poll_budget(params.budget);
    poll->mutable_ext()->set_prefer_busy_poll(params.prefer);
}

Result<void> restore_busy_poll(int fd, const img::ext_epoll &ext) {
    const Params params{ext.busy_poll_us(), static_cast<uint16_t>(ext.busy_poll_budget()), ext.prefer_busy_poll(), 0};
    if (ioctl(fd, kSetParams, &params) < 0)
        return base::fail_sys("EPIOCSPARAMS");
    return {};
}

/// Whether descriptor `number` of any task is that file.
bool is_watched(const OpenFile &file, Pid task, int number, uint32_t added, uint32_t nth) {
    kcmp_epoll_slot slot{static_cast<uint32_t>(file.number), added, nth};
    return syscall(SYS_kcmp, task.value, file.voice.value, KCMP_EPOLL_TFD, number, &slot) == 0;
}

Result<FileId> id_of(FileDumpContext &context, Pid task, int number) {
    const base::UniqueFd pidfd = TRY(compel::open_pidfd(task));
    base::UniqueFd fd(static_cast<int>(syscall(SYS_pidfd_getfd, pidfd.get(), number, 0)));
    if (!fd)
        return base::fail_sys("pidfd_getfd");
    return context.dump_passed(std::move(fd));
}

/// Finds where in the tree an entry's file is open; its old number is closed or leads elsewhere.
Result<void> find_target(FileDumpContext &context, const OpenFile &file, uint32_t nth, img::eventpoll_tfd_entry &lost) {
    for (const tree::TaskFacts &task : context.tasks)
        for (int number : task.fds)
            if (is_watched(file, task.voice, number, lost.tfd(), nth)) {
                lost.set_target(TRY(id_of(context, task.voice, number)).value);
                if (task.pid == file.holder) { // never of a set on its way
                    lost.set_added(lost.tfd());
                    lost.set_tfd(static_cast<uint32_t>(number));
                }
                return {};
            }
    return base::unsupported(fmt::format("it watches a file that was added as descriptor {}, and that no task of the "
                                         "tree has open any more",
                                         lost.tfd()));
}

/// On its way through a socket: the descriptor is ours.
bool is_on_its_way(const OpenFile &file) {
    return file.holder == Pid(getpid());
}

struct SetsOnTheirWay {
    std::vector<std::pair<OpenFile, img::file_entry>> sets;
};

Result<void> check_numbers(FileDumpContext &context, const OpenFile &file, img::eventpoll_file_entry &poll) {
    std::map<uint32_t, uint32_t> seen;
    for (img::eventpoll_tfd_entry &entry : *poll.mutable_tfd()) {
        const uint32_t nth = seen[entry.tfd()]++;
        if (is_on_its_way(file) || !is_watched(file, file.voice, static_cast<int>(entry.tfd()), entry.tfd(), nth))
            TRY(find_target(context, file, nth, entry));
    }
    return {};
}

Result<void> dump(FileDumpContext &context, const OpenFile &file, img::file_entry &entry) {
    auto info = TRY(parse::parse_fdinfo(file.fdinfo));
    img::eventpoll_file_entry *poll = entry.mutable_epfd();
    poll->set_id(file.id.value);
    poll->set_flags(file.flags);
    TRY(dump_owner(context, file, poll->mutable_fown()));
    for (const parse::EpollTarget &target : info.epoll) {
        img::eventpoll_tfd_entry *watched = poll->add_tfd();
        watched->set_id(0);
        watched->set_tfd(static_cast<uint32_t>(target.fd));
        watched->set_events(target.events);
        watched->set_data(target.data);
        watched->set_dev(static_cast<uint32_t>(target.sdev));
        watched->set_inode(target.inode);
        watched->set_pos(static_cast<uint64_t>(target.pos));
    }
    dump_busy_poll(file.fd, poll);
    if (!is_on_its_way(file) || !poll->tfd_size())
        return check_numbers(context, file, *poll);
    context.postponed = true;
    context.states.of<SetsOnTheirWay>().sets.emplace_back(file, entry);
    return {};
}

Result<void> finish(FileDumpContext &context) {
    auto &sets = context.states.of<SetsOnTheirWay>().sets;
    for (auto &[file, entry] : sets) {
        TRY_CTX(check_numbers(context, file, *entry.mutable_epfd()), "an epoll set on its way through a socket");
        TRY(context.images.add(image::ImageKind::Files, 0, entry));
    }
    sets.clear();
    return {};
}

Result<base::UniqueFd> open_file(FileOpenContext &, const img::file_entry &entry) {
    base::UniqueFd fd(epoll_create1(EPOLL_CLOEXEC));
    if (!fd)
        return base::fail_sys("epoll_create1");
    if (fcntl(fd.get(), F_SETFL, static_cast<int>(entry.epfd().flags() & O_NONBLOCK)) < 0)
        return base::fail_sys("fcntl(F_SETFL)");
    return fd;
}

/// The number under which its file was added.
uint32_t number_of(const img::eventpoll_tfd_entry &watched) {
    return watched.has_added() ? watched.added() : watched.tfd();
}

Result<void> add(int fd, const img::eventpoll_tfd_entry &watched) {
    epoll_event event{};
    event.events = watched.events();
    event.data.u64 = watched.data();
    if (epoll_ctl(fd, EPOLL_CTL_ADD, static_cast<int>(number_of(watched)), &event) < 0)
        return base::fail_sys(fmt::format("watch descriptor {}", number_of(watched)));
    return {};
}

/// Adds a file under a number that is closed now, or leads elsewhere.
Result<void> add_under_old_number(FileSettleContext &context, int fd, const img::eventpoll_tfd_entry &watched) {
    auto target = context.opened.find(watched.target());
    if (target == context.opened.end())
        return base::bad_image(fmt::format("a watched file ({}) is missing", watched.target()));
    const int number = static_cast<int>(number_of(watched));
    base::UniqueFd kept(fcntl(number, F_DUPFD_CLOEXEC, 0));
    const int flags = fcntl(number, F_GETFD);
    if (dup2(target->second, number) < 0)
        return base::fail_sys(fmt::format("put a watched file to descriptor {}", number));
    const Result<void> added = add(number == fd ? kept.get() : fd, watched);
    if (kept)
        dup3(kept.get(), number, flags & FD_CLOEXEC ? O_CLOEXEC : 0);
    else
        close(number);
    return added;
}

/// A one-shot entry that has fired watches nothing, not even errors, until it is armed again. It comes about by firing:
/// while it is alone in the set and its file is ready for anything at all.
constexpr uint32_t kPrivateBits = EPOLLWAKEUP | EPOLLONESHOT | EPOLLET | EPOLLEXCLUSIVE;
bool has_fired(const img::eventpoll_tfd_entry &watched) {
    return (watched.events() & EPOLLONESHOT) && !(watched.events() & ~kPrivateBits);
}
void fire(int fd, const img::eventpoll_tfd_entry &watched) {
    epoll_event event{};
    event.events = watched.events() | EPOLLIN | EPOLLOUT;
    event.data.u64 = watched.data();
    if (epoll_ctl(fd, EPOLL_CTL_MOD, static_cast<int>(watched.tfd()), &event) == 0 && epoll_wait(fd, &event, 1, 0) == 1)
        return;
    event.events = watched.events();
    event.data.u64 = watched.data();
    epoll_ctl(fd, EPOLL_CTL_MOD, static_cast<int>(watched.tfd()), &event);
}

bool is_opened_late(const FileSettleContext &context, const img::eventpoll_tfd_entry &watched) {
    auto entry = context.table.find(static_cast<int>(watched.tfd()));
    return !watched.has_target() && entry != context.table.end() && !context.opened.contains(entry->second);
}

Result<void> fill(FileSettleContext &context, int fd, const img::eventpoll_file_entry &poll) {
    for (const bool fired : {true, false})
        for (const img::eventpoll_tfd_entry &watched : poll.tfd()) {
            if (has_fired(watched) != fired || is_opened_late(context, watched))
                continue;
            TRY(watched.has_target() ? add_under_old_number(context, fd, watched) : add(fd, watched));
            if (fired && !watched.has_target())
                fire(fd, watched);
        }
    return poll.has_ext() ? restore_busy_poll(fd, poll.ext()) : Result<void>{};
}

Result<void> settle(FileSettleContext &context, int fd, const img::file_entry &entry) {
    if (context.first_holder)
        TRY(fill(context, fd, entry.epfd()));
    return restore_owner(fd, entry.epfd().fown(), entry.epfd().flags());
}

Result<void> settle_late(LatePlan &late, const img::file_entry &entry) {
    for (const img::eventpoll_tfd_entry &watched : entry.epfd().tfd()) {
        auto number = late.table.find(static_cast<int>(watched.tfd()));
        if (watched.has_target() || number == late.table.end() || !late.is_late(number->second))
            continue;
        epoll_event event{};
        event.events = watched.events();
        event.data.u64 = watched.data();
        late.plan.call(
            plan::Stage::LateFetch, "epoll_ctl, a file opened late", SYS_epoll_ctl,
            {static_cast<uint64_t>(late.number), EPOLL_CTL_ADD, watched.tfd(), late.plan.data().add_value(event)});
    }
    return {};
}

} // namespace

extern const FileKind kKind{
    .name = "epoll",
    .type = img::EVENTPOLL,
    .about = {.saved = "targets with events and data, edge-triggered and one-shot entries, nesting, busy-poll "
                       "parameters, targets that were closed under their number, sets on their way through a socket",
              .restored = "filled in the first task that holds it, or by its agent where a target is opened late",
              .limits =
                  "a target that no task has open any more is refused; a one-shot "
                  "entry that has fired can report errors again where its file is ready for nothing at the restore"},
    .matches = matches,
    .dump = dump,
    .finish = finish,
    .open = open_file,
    .settle = settle,
    .settle_late = settle_late};

} // namespace resource::eventpoll
