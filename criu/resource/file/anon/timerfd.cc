// timerfd_create(2). fdinfo tells the time left, also of timers that were set to an absolute time; these are set to an
// absolute time again, so that a change of the clock means the same for them. Expirations that nobody has read are set
// by TFD_IOC_SET_TICKS.
//
// A repeating timer that nobody reads stands still in the kernel after its first expiration; what it missed is counted
// when somebody asks for its time. So the dump asks before it looks at fdinfo.
#include "criu/parse/fdinfo.hh"
#include "criu/resource/file/file.hh"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <sys/timerfd.h>
#include <unistd.h>

namespace resource::timerfd {
namespace {

constexpr unsigned long kSetTicks = _IOW('T', 0, uint64_t); // TFD_IOC_SET_TICKS
constexpr long kNanoseconds = 1'000'000'000;

bool matches(const OpenFile &file) {
    return file.link == "anon_inode:[timerfd]";
}

Result<std::string> fdinfo_of(int fd) {
    const std::string path = fmt::format("/proc/self/fdinfo/{}", fd);
    base::UniqueFd info(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    char text[4096];
    ssize_t n = info ? read(info.get(), text, sizeof text) : -1;
    if (n < 0)
        return base::fail_sys(fmt::format("read {}", path));
    return std::string(text, static_cast<size_t>(n));
}

Result<void> dump(FileDumpContext &context, const OpenFile &file, img::file_entry &entry) {
    itimerspec now{};
    if (timerfd_gettime(file.fd, &now) < 0)
        return base::fail_sys("timerfd_gettime");
    auto info = TRY(parse::parse_fdinfo(TRY(fdinfo_of(file.fd))));
    if (!info.timerfd)
        return base::unsupported("its time is not in fdinfo");
    img::timerfd_entry *timer = entry.mutable_tfd();
    timer->set_id(file.id.value);
    timer->set_flags(file.flags);
    TRY(dump_owner(context, file, timer->mutable_fown()));
    timer->set_clockid(static_cast<uint32_t>(info.timerfd->clock_id));
    timer->set_ticks(info.timerfd->ticks);
    timer->set_settime_flags(info.timerfd->settime_flags);
    timer->set_vsec(info.timerfd->value_sec);
    timer->set_vnsec(info.timerfd->value_nsec);
    timer->set_isec(info.timerfd->interval_sec);
    timer->set_insec(info.timerfd->interval_nsec);
    return {};
}

Result<itimerspec> time_of(const img::timerfd_entry &timer) {
    itimerspec time{};
    time.it_value = {static_cast<time_t>(timer.vsec()), static_cast<long>(timer.vnsec())};
    time.it_interval = {static_cast<time_t>(timer.isec()), static_cast<long>(timer.insec())};
    if (!timer.vsec() && !timer.vnsec())
        time.it_value = time.it_interval; // CRIU's images of one that has expired and goes on
    if (!(timer.settime_flags() & TFD_TIMER_ABSTIME))
        return time;
    timespec now{};
    if (clock_gettime(static_cast<clockid_t>(timer.clockid()), &now) < 0)
        return base::fail_sys("look at the clock of a timerfd");
    if (__builtin_add_overflow(time.it_value.tv_sec, now.tv_sec, &time.it_value.tv_sec))
        return base::bad_image("a timerfd with an impossible time");
    time.it_value.tv_nsec += now.tv_nsec;
    if (time.it_value.tv_nsec >= kNanoseconds)
        time.it_value.tv_sec++, time.it_value.tv_nsec -= kNanoseconds;
    return time;
}

Result<base::UniqueFd> open_file(FileOpenContext &, const img::file_entry &entry) {
    const img::timerfd_entry &timer = entry.tfd();
    if (timer.vnsec() >= kNanoseconds || timer.insec() >= kNanoseconds)
        return base::bad_image("a timerfd with an impossible time");
    base::UniqueFd fd(timerfd_create(static_cast<int>(timer.clockid()),
                                     TFD_CLOEXEC | (timer.flags() & O_NONBLOCK ? TFD_NONBLOCK : 0)));
    if (!fd)
        return base::fail_sys("timerfd_create");
    const bool armed = timer.vsec() || timer.vnsec() || (timer.ticks() && (timer.isec() || timer.insec()));
    const itimerspec time = TRY(time_of(timer));
    constexpr uint32_t kKnown = TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET;
    if (armed && timerfd_settime(fd.get(), static_cast<int>(timer.settime_flags() & kKnown), &time, nullptr) < 0)
        return base::fail_sys("timerfd_settime");
    const uint64_t ticks = timer.ticks();
    if (ticks && ioctl(fd.get(), kSetTicks, &ticks) < 0)
        return base::fail_sys("TFD_IOC_SET_TICKS");
    return fd;
}

Result<void> settle(FileSettleContext &, int fd, const img::file_entry &entry) {
    return restore_owner(fd, entry.tfd().fown(), entry.tfd().flags());
}

} // namespace

extern const FileKind kKind{
    .name = "timerfd",
    .type = img::TIMERFD,
    .about = {.saved = "clock, interval, time left, absolute and cancel-on-set mode, expirations that were not read",
              .restored = "the time left goes on from the restore; absolute timers expire at their time"},
    .matches = matches,
    .dump = dump,
    .open = open_file,
    .settle = settle};

} // namespace resource::timerfd
