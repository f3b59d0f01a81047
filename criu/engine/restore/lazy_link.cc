#include "criu/engine/restore/lazy_link.hh"

#include "base/fd_message.hh"
#include "criu/pages/lazy_socket.hh"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

namespace restore {
namespace {

constexpr uint64_t kFollow =
    UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_EVENT_REMOVE | UFFD_FEATURE_EVENT_UNMAP;
constexpr uint64_t kPoison = 1 << 14; // Linux 6.6: see lazy::poison()

Result<base::UniqueFd> open_uffd(uint64_t features, uint64_t *available = nullptr) {
    base::UniqueFd fd(static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK)));
    uffdio_api api{UFFD_API, features, 0};
    if (!fd || ioctl(fd.get(), UFFDIO_API, &api) < 0) {
        auto error = base::Error::sys("userfaultfd");
        if (errno == EPERM)
            error.hint("restoring lazily needs CAP_SYS_PTRACE");
        return base::fail(std::move(error));
    }
    if (available)
        *available = api.features;
    return fd;
}

Result<base::UniqueFd> connect_socket() {
    base::UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, pages::kLazySocketName);
    if (!socket || ::connect(socket.get(), reinterpret_cast<const sockaddr *>(&address), sizeof address) < 0)
        return base::fail(base::Error::sys(std::string("connect to ") + pages::kLazySocketName)
                              .hint("start criu lazy-pages with the same work folder first; without --lazy-pages all "
                                    "memory comes at once"));
    return socket;
}

} // namespace

Result<LazyLink> LazyLink::connect() {
    uint64_t available = 0;
    TRY(open_uffd(0, &available));
    if ((available & kFollow) != kFollow)
        return base::unsupported(
            "--lazy-pages: userfaultfd of this kernel does not tell of forks and changed mappings");
    return LazyLink(TRY(connect_socket()), kFollow | (available & kPoison));
}

Result<void> LazyLink::send(const void *bytes, size_t size) const {
    if (::send(socket_.get(), bytes, size, MSG_NOSIGNAL) != static_cast<ssize_t>(size))
        return base::fail(
            base::Error::sys("tell the lazy-pages daemon").hint("the daemon has ended: its log says why"));
    return {};
}

Result<int> LazyLink::hand_over(uint32_t pid, int from, Rendezvous &rendezvous) const {
    const base::UniqueFd fd = TRY(open_uffd(features_));
    TRY(rendezvous.in_turn([&]() -> Result<void> {
        const auto number = static_cast<int32_t>(pid);
        TRY(send(&number, sizeof number));
        const char dummy = 0;
        const int descriptor = fd.get();
        if (base::send_with_fds(socket_.get(), &dummy, sizeof dummy, std::span(&descriptor, 1)) != 1)
            return base::fail_sys("send the userfaultfd to the lazy-pages daemon");
        return {};
    }));
    const int kept = fcntl(fd.get(), F_DUPFD_CLOEXEC, from);
    if (kept < 0)
        return base::fail_sys("keep the userfaultfd");
    return kept;
}

Result<void> LazyLink::tell_of_dead(const plan::Checkpoint &checkpoint, Rendezvous &rendezvous) const {
    for (const plan::TaskImage &task : checkpoint.tasks)
        if (task.dead() || task.memory_of)
            TRY(rendezvous.in_turn([&]() -> Result<void> {
                const int32_t number = -static_cast<int32_t>(task.pid);
                return send(&number, sizeof number);
            }));
    return {};
}

// Nothing ever comes back: what can be read is the end.
Result<void> LazyLink::begin() const {
    TRY(send(&pages::kLazyAllSent, sizeof pages::kLazyAllSent));
    pollfd end{socket_.get(), POLLIN, 0};
    if (poll(&end, 1, 0) > 0 && (end.revents & (POLLHUP | POLLERR)))
        return base::fail(
            base::Error(base::ErrorKind::Died, "the lazy-pages daemon has ended").hint("its log says why"));
    return {};
}

} // namespace restore
