// epoll(7): a set of descriptors to watch. The kernel remembers each by its open file and the number it had when it was
// added; the number may have been closed or reused since. kcmp(KCMP_EPOLL_TFD) tells, and finds another number of the
// same file: the image holds that one then, because a restore can only add what is open.
//
// Numbers mean something in one task only, the first that holds the set: it fills the set once its descriptors are in
// place, the other holders leave it alone.
#include "criu/parse/fdinfo.hh"
#include "criu/resource/file/file.hh"

#include <algorithm>
#include <charconv>
#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/kcmp.h>
#include <map>
#include <memory>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace resource {
namespace {

bool matches(const OpenFile &file) {
    return file.link == "anon_inode:[eventpoll]";
}

// Busy polling has no place in the message. Kernels before 6.9 do not know it.
Result<void> refuse_busy_poll(int fd) {
    struct Params {
        uint32_t microseconds;
        uint16_t budget;
        uint8_t prefer;
        uint8_t pad;
    } params{};
    constexpr unsigned long kGetParams = _IOR(0x8A, 0x02, Params); // EPIOCGPARAMS
    if (ioctl(fd, kGetParams, &params) == 0 && (params.microseconds || params.budget || params.prefer))
        return base::unsupported("it has busy polling parameters (EPIOCSPARAMS)");
    return {};
}

/// Whether descriptor `number` of the holder is what the set watches as the `nth` that was added as `added`.
bool is_watched(const OpenFile &file, int number, uint32_t added, uint32_t nth) {
    kcmp_epoll_slot slot{static_cast<uint32_t>(file.number), added, nth};
    return syscall(SYS_kcmp, file.holder.value, file.holder.value, KCMP_EPOLL_TFD, number, &slot) == 0;
}

Result<std::vector<int>> numbers_of(Pid pid) {
    const std::string path = fmt::format("/proc/{}/fd", pid.value);
    struct Close {
        void operator()(DIR *directory) const { closedir(directory); }
    };
    std::unique_ptr<DIR, Close> directory(opendir(path.c_str()));
    if (!directory)
        return base::fail_sys(fmt::format("open {}", path));
    std::vector<int> numbers;
    while (const dirent *entry = readdir(directory.get())) {
        const std::string_view name = entry->d_name;
        int number;
        if (std::from_chars(name.data(), name.data() + name.size(), number).ec == std::errc())
            numbers.push_back(number);
    }
    return numbers;
}

/// Gives an entry that lost its number another one, which no entry uses: a set takes a file only once per number.
Result<void> find_number(const OpenFile &file, const img::eventpoll_file_entry &poll, uint32_t nth,
                         img::eventpoll_tfd_entry &lost) {
    for (int number : TRY(numbers_of(file.holder))) {
        const bool used =
            std::ranges::any_of(poll.tfd(), [&](auto &entry) { return entry.tfd() == static_cast<uint32_t>(number); });
        if (!used && is_watched(file, number, lost.tfd(), nth)) {
            lost.set_tfd(static_cast<uint32_t>(number));
            return {};
        }
    }
    return base::unsupported(
        fmt::format("it watches a file that was added as descriptor {}, which task {} has open under no "
                    "number that could take its place",
                    lost.tfd(), file.holder.value));
}

Result<void> check_numbers(const OpenFile &file, img::eventpoll_file_entry &poll) {
    std::vector<std::pair<int, uint32_t>> lost;
    std::map<uint32_t, uint32_t> seen;
    for (int i = 0; i < poll.tfd_size(); i++) {
        const uint32_t number = poll.tfd(i).tfd(), nth = seen[number]++;
        if (!is_watched(file, static_cast<int>(number), number, nth))
            lost.emplace_back(i, nth);
    }
    for (auto [i, nth] : lost)
        TRY(find_number(file, poll, nth, *poll.mutable_tfd(i)));
    return {};
}

Result<void> dump(FileDumpContext &, const OpenFile &file, img::file_entry &entry) {
    TRY(refuse_busy_poll(file.fd));
    auto info = TRY(parse::parse_fdinfo(file.fdinfo));
    img::eventpoll_file_entry *poll = entry.mutable_epfd();
    poll->set_id(file.id.value);
    poll->set_flags(file.flags);
    TRY(dump_owner(file, poll->mutable_fown()));
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
    return check_numbers(file, *poll);
}

Result<base::UniqueFd> open_file(FileOpenContext &, const img::file_entry &entry) {
    base::UniqueFd fd(epoll_create1(EPOLL_CLOEXEC));
    if (!fd)
        return base::fail_sys("epoll_create1");
    if (fcntl(fd.get(), F_SETFL, static_cast<int>(entry.epfd().flags() & O_NONBLOCK)) < 0)
        return base::fail_sys("fcntl(F_SETFL)");
    return fd;
}

Result<void> settle(FileSettleContext &context, int fd, const img::file_entry &entry) {
    for (const img::eventpoll_tfd_entry &watched : entry.epfd().tfd()) {
        if (!context.first_holder)
            break;
        epoll_event event{};
        event.events = watched.events();
        event.data.u64 = watched.data();
        if (epoll_ctl(fd, EPOLL_CTL_ADD, static_cast<int>(watched.tfd()), &event) < 0)
            return base::fail_sys(fmt::format("watch descriptor {}", watched.tfd()));
    }
    return restore_owner(fd, entry.epfd().fown(), entry.epfd().flags());
}

} // namespace

const FileKind kEventpoll{
    .name = "epoll", .type = img::EVENTPOLL, .matches = matches, .dump = dump, .open = open_file, .settle = settle};

} // namespace resource
