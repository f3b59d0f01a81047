#include "criu/resource/socket/peek_guard.hh"

#include <atomic>
#include <csignal>
#include <new>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace resource {

using base::Result;

struct PeekGuard::Shared {
    std::atomic<int> fd{-1}; ///< the socket whose offset is ours at the moment
    int before = -1;         ///< its own offset
};

Result<void> set_peek_offset(int fd, int offset) {
    if (setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof offset) < 0)
        return base::fail_sys("SO_PEEK_OFF");
    return {};
}

Result<void> PeekGuard::start() {
    if (guard_ > 0)
        return {};
    void *page = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return base::fail_sys("map a page");
    shared_ = new (page) Shared;
    base::UniqueFd self(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0)));
    if (!self)
        return base::fail_sys("pidfd_open");
    // A process of its own with our table of descriptors: it outlives us, and so do they. It does not ask to be waited
    // for.
    const long pid = syscall(SYS_clone, CLONE_FILES, nullptr, nullptr, nullptr, nullptr);
    if (pid < 0)
        return base::fail_sys("clone");
    if (pid == 0) {
        pollfd death{self.get(), POLLIN, 0};
        while (poll(&death, 1, -1) != 1) {
        }
        if (int fd = shared_->fd.load(); fd >= 0)
            setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &shared_->before, sizeof(int));
        _exit(0);
    }
    guard_ = static_cast<pid_t>(pid);
    // The table is shared: the descriptor has to stay open in it.
    (void)self.release();
    return {};
}

PeekGuard::~PeekGuard() {
    if (guard_ > 0) {
        kill(guard_, SIGKILL);
        waitpid(guard_, nullptr, __WALL);
    }
    if (shared_)
        munmap(shared_, sizeof(Shared));
}

Result<void> PeekGuard::walk(int fd, const std::function<Result<void>()> &body, int first) {
    TRY(start());
    int before = -1;
    socklen_t size = sizeof before;
    if (getsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &before, &size) < 0)
        return base::fail_sys("SO_PEEK_OFF");
    shared_->before = before;
    shared_->fd.store(fd);
    Result<void> outcome = set_peek_offset(fd, first);
    if (outcome)
        outcome = body();
    Result<void> back = set_peek_offset(fd, before);
    shared_->fd.store(-1);
    return outcome ? back : outcome;
}

} // namespace resource
