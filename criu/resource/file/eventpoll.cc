// epoll(7): a set of descriptors to watch. The kernel remembers each by its open file and the number it had when it was
// added; the number may have been closed or reused since. Only sets whose numbers still lead to the same files can be
// made again: kcmp(KCMP_EPOLL_TFD) tells.
#include "criu/parse/fdinfo.hh"
#include "criu/resource/file/file.hh"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/kcmp.h>
#include <map>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace resource {
namespace {

bool matches(const OpenFile &file) {
    return file.link == "anon_inode:[eventpoll]";
}

/// Whether descriptor `target` of the holder is what the set watches as the `nth` under this number.
bool is_watched(const OpenFile &file, int target, uint32_t nth) {
    kcmp_epoll_slot slot{static_cast<uint32_t>(file.number), static_cast<uint32_t>(target), nth};
    return syscall(SYS_kcmp, file.holder.value, file.holder.value, KCMP_EPOLL_TFD, target, &slot) == 0;
}

Result<void> dump(FileDumpContext &, const OpenFile &file, img::file_entry &entry) {
    auto info = TRY(parse::parse_fdinfo(file.fdinfo));
    img::eventpoll_file_entry *poll = entry.mutable_epfd();
    poll->set_id(file.id.value);
    poll->set_flags(file.flags);
    TRY(dump_owner(file, poll->mutable_fown()));
    std::map<int, uint32_t> seen;
    for (const parse::EpollTarget &target : info.epoll) {
        if (!is_watched(file, target.fd, seen[target.fd]++))
            return base::unsupported(fmt::format(
                "it watches a file that was added as descriptor {} and is not open there any more", target.fd));
        img::eventpoll_tfd_entry *watched = poll->add_tfd();
        watched->set_id(0);
        watched->set_tfd(static_cast<uint32_t>(target.fd));
        watched->set_events(target.events);
        watched->set_data(target.data);
        watched->set_dev(static_cast<uint32_t>(target.sdev));
        watched->set_inode(target.inode);
        watched->set_pos(static_cast<uint64_t>(target.pos));
    }
    return {};
}

Result<base::UniqueFd> open_file(FileOpenContext &, const img::file_entry &) {
    base::UniqueFd fd(epoll_create1(EPOLL_CLOEXEC));
    if (!fd)
        return base::fail_sys("epoll_create1");
    return fd;
}

// Several tasks may hold the set: the first one to come fills it.
Result<void> settle(FileSettleContext &, int fd, const img::file_entry &entry) {
    for (const img::eventpoll_tfd_entry &watched : entry.epfd().tfd()) {
        epoll_event event{};
        event.events = watched.events();
        event.data.u64 = watched.data();
        if (epoll_ctl(fd, EPOLL_CTL_ADD, static_cast<int>(watched.tfd()), &event) < 0 && errno != EEXIST)
            return base::fail_sys(fmt::format("watch descriptor {}", watched.tfd()));
    }
    return restore_owner(fd, entry.epfd().fown(), entry.epfd().flags());
}

} // namespace

const FileKind kEventpoll{
    .name = "epoll", .type = img::EVENTPOLL, .matches = matches, .dump = dump, .open = open_file, .settle = settle};

} // namespace resource
