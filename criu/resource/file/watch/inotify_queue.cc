#include "criu/resource/file/watch/inotify_queue.hh"

#include "base/unique_fd.hh"
#include "criu/resource/file/watch/inotify_forge.hh"

#include <algorithm>
#include <climits>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <fstream>
#include <span>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace resource {
namespace {

constexpr unsigned long kSetNextWatch = _IOW('I', 0, int32_t); // INOTIFY_IOC_SETNEXTWD
constexpr size_t kLongestQueue = 1u << 20;                     ///< filling a longer one would take seconds

/// Length of queues that are created now.
size_t queue_length() {
    size_t length = 0;
    std::ifstream("/proc/sys/fs/inotify/max_queued_events") >> length;
    return length;
}

/// Reads events without names, exactly so many.
Result<void> skip_events(int fd, size_t count) {
    std::vector<inotify_event> buffer(4096);
    while (count) {
        const size_t bytes = std::min(count, buffer.size()) * sizeof(inotify_event);
        const ssize_t n = read(fd, buffer.data(), bytes);
        if (n <= 0)
            return base::fail_sys(n < 0 ? errno : EIO, "read from the queue of inotify");
        count -= static_cast<size_t>(n) / sizeof(inotify_event);
    }
    return {};
}

/// Two files, read by turns: equal events in a row would become one.
class Filler {
public:
    static Result<Filler> create(int fd, int scratch, int first_number) {
        Filler filler;
        for (int i = 0; i < 2; i++) {
            const std::string name = fmt::format("filler{}", i);
            filler.files_[i].reset(openat(scratch, name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
            if (!filler.files_[i] || write(filler.files_[i].get(), "x", 1) != 1)
                return base::fail_sys("create a scratch file");
            filler.watches_[i] = first_number + i;
            TRY(add_watch(fd, first_number + i, fmt::format("/proc/self/fd/{}/{}", scratch, name), IN_ACCESS));
        }
        return filler;
    }
    Result<void> add(size_t count) {
        char byte;
        for (; count; count--, turn_ ^= 1)
            if (pread(files_[turn_].get(), &byte, 1, 0) != 1)
                return base::fail_sys("read a scratch file");
        return {};
    }
    void remove(int fd) {
        for (int watch : watches_)
            inotify_rm_watch(fd, watch);
    }

private:
    base::UniqueFd files_[2];
    int watches_[2] = {};
    int turn_ = 0;
};

bool is_overflow(const WatchEvent &event) {
    return event.mask & IN_Q_OVERFLOW;
}

int highest_number(const std::vector<WatchEvent> &events) {
    int highest = 0;
    for (const WatchEvent &event : events)
        highest = std::max(highest, event.watch);
    return highest;
}

} // namespace

size_t unread_bytes(int fd) {
    int bytes = 0;
    return ioctl(fd, FIONREAD, &bytes) == 0 && bytes > 0 ? static_cast<size_t>(bytes) : 0;
}

Result<std::vector<WatchEvent>> take_events(int fd) {
    std::vector<WatchEvent> events;
    std::vector<char> buffer;
    while (const size_t waiting = unread_bytes(fd)) { // reading none would wait for some
        buffer.resize(waiting);
        const ssize_t n = read(fd, buffer.data(), buffer.size());
        if (n < 0)
            return base::fail_sys("read events of inotify");
        for (size_t at = 0; at + sizeof(inotify_event) <= static_cast<size_t>(n);) {
            inotify_event head{};
            memcpy(&head, buffer.data() + at, sizeof head);
            const char *name = buffer.data() + at + sizeof head;
            events.push_back({head.wd, head.mask, head.cookie, std::string(name, strnlen(name, head.len))});
            at += sizeof head + head.len;
        }
    }
    return events;
}

Result<void> put_events(int fd, const std::vector<WatchEvent> &events, bool overflow) {
    std::vector<WatchEvent> real;
    for (const WatchEvent &event : events) {
        overflow |= is_overflow(event);
        if (!is_overflow(event))
            real.push_back(event);
    }
    const size_t length = queue_length();
    overflow |= real.size() >= length;
    if (length == 0 || length > kLongestQueue || real.size() > length)
        return base::unsupported(fmt::format("{} events do not fit into a queue for {}", real.size(), length));
    const int highest = highest_number(real);
    if (highest > INT_MAX - 4)
        return base::bad_image("an impossible number of a watch");
    base::UniqueFd scratch = TRY(create_scratch());
    Filler filler = TRY(Filler::create(fd, scratch.get(), highest + 1));
    if (!overflow) {
        TRY(filler.add(length + 1));
        TRY(skip_events(fd, length));
    }
    const size_t fill = length - real.size() - (overflow ? 0 : 1);
    TRY(filler.add(fill));
    const size_t before = unread_bytes(fd);
    const size_t forged = TRY(forge_events(fd, scratch.get(), real));
    filler.remove(fd);
    const size_t end = overflow ? sizeof(inotify_event) : 0;
    if (unread_bytes(fd) != before + forged + end)
        return base::unsupported("the kernel has made other events of them");
    return skip_events(fd, fill + (overflow ? 0 : 1));
}

Result<void> set_next_watch(int fd, int number) {
    if (ioctl(fd, kSetNextWatch, number) < 0)
        return base::fail_sys(fmt::format("choose the number of a watch ({})", number));
    return {};
}

Result<void> add_watch(int fd, int number, const std::string &path, uint32_t mask) {
    TRY(set_next_watch(fd, number));
    const int got = inotify_add_watch(fd, path.c_str(), mask);
    if (got < 0)
        return base::fail_sys("inotify_add_watch");
    if (got != number)
        return base::bad_image(fmt::format("watch {} got the number {}: another has it, or its file", number, got));
    return {};
}

Result<int> probe_next_watch(int fd) {
    base::UniqueFd nobody(memfd_create("watched", MFD_CLOEXEC));
    const int number =
        nobody ? inotify_add_watch(fd, fmt::format("/proc/self/fd/{}", nobody.get()).c_str(), IN_DELETE_SELF) : -1;
    if (number < 0)
        return base::fail_sys("find the number of the next watch");
    inotify_rm_watch(fd, number);
    TRY(take_events(fd));
    return number;
}

} // namespace resource
