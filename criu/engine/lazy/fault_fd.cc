#include "criu/engine/lazy/fault_fd.hh"

#include "base/ids.hh"

#include <algorithm>
#include <cerrno>
#include <sys/ioctl.h>
#include <unistd.h>

namespace lazy {
namespace {

constexpr uint64_t kPage = base::kPageSize;

/// Linux 6.6; younger than the installed headers.
struct UffdioPoison {
    uint64_t start, length, mode;
    int64_t updated;
};
constexpr unsigned long kUffdioPoison = _IOWR(UFFDIO, 0x08, UffdioPoison);

void wake(int fd, uint64_t start, uint64_t size) {
    uffdio_range range{start, size};
    ioctl(fd, UFFDIO_WAKE, &range);
}

bool discard_message(int fd) {
    uffd_msg message{};
    const auto got = read_message(fd, message);
    return got && *got;
}

} // namespace

// A call that was cut short tells how far it came, and the next one why. One that reaches over the end of a mapping,
// where another one may begin, is refused as a whole: so it is tried in ever smaller parts.
Put put_pages(int fd, uint64_t to, const std::byte *from, uint64_t size, uint64_t &done) {
    done = 0;
    for (uint64_t part = size; done < size;) {
        part = std::min(part, size - done);
        uffdio_copy copy{to + done, reinterpret_cast<uint64_t>(from + done), part, 0, 0};
        if (ioctl(fd, UFFDIO_COPY, &copy) == 0) {
            done += part;
            part = size;
            continue;
        }
        if (copy.copy > 0) {
            done += static_cast<uint64_t>(copy.copy);
            continue;
        }
        switch (errno) {
        case EEXIST:
            wake(fd, to + done, kPage);
            done += kPage;
            break;
        case ENOENT:
        case EINVAL:
            if (part == kPage) // unmapped meanwhile, or mapped anew
                done += kPage;
            part = part == kPage ? size : base::page_down(part / 2);
            break;
        case EAGAIN:
        case ENOMEM:
        case EINTR:
            return Put::Changing;
        default: // ESRCH, of old ENOSPC
            return Put::Gone;
        }
    }
    return Put::Done;
}

Put put_zero_page(int fd, uint64_t address) {
    uffdio_zeropage zero{{address, kPage}, 0, 0};
    if (ioctl(fd, UFFDIO_ZEROPAGE, &zero) == 0 || errno == ENOENT)
        return Put::Done;
    if (errno == EEXIST) {
        wake(fd, address, kPage);
        return Put::Done;
    }
    return errno == EAGAIN || errno == ENOMEM || errno == EINTR ? Put::Changing : Put::Gone;
}

void wake_all(int fd) {
    wake(fd, kPage * 16, base::kUserEnd - kPage * 16);
}

bool poison(int fd, uint64_t start, uint64_t end) {
    bool works = true;
    for (uint64_t part = end - start; start < end;) {
        part = std::min(part, end - start);
        UffdioPoison call{start, part, 0, 0};
        if (ioctl(fd, kUffdioPoison, &call) == 0) {
            start += part;
            part = end - start;
        } else if (call.updated > 0) {
            start += static_cast<uint64_t>(call.updated);
        } else if (errno == EEXIST) {
            start += kPage;
        } else if (errno == ENOENT || errno == EINVAL) {
            works &= part > kPage || errno == ENOENT;
            start += part == kPage ? kPage : 0;
            part = part == kPage ? end - start : base::page_down(part / 2);
        } else if (errno != EAGAIN || !discard_message(fd)) { // what holds it up is a message that nobody reads
            return errno == ESRCH;
        }
    }
    return works;
}

Result<bool> read_message(int fd, uffd_msg &message) {
    for (;;) {
        const ssize_t n = read(fd, &message, sizeof message);
        if (n == sizeof message)
            return true;
        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0 || errno == EAGAIN)
            return false;
        return base::fail_sys("read a userfaultfd");
    }
}

} // namespace lazy
