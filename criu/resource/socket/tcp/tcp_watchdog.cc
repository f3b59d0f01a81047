#include "criu/resource/socket/tcp/tcp_watchdog.hh"

#include "criu/kernel/control_group.hh"
#include "criu/resource/socket/tcp/tcp_stream.hh"

#include <algorithm>
#include <csignal>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace resource {
namespace {

enum Word : char { kNothing = 0, kReady = 'r', kDismissed = 'd', kKilling = 'k' };

/// The last word before the end; 0: none.
char last_word(int line) {
    char word = kNothing;
    for (char next; read(line, &next, 1) == 1;)
        word = next;
    return word;
}

/// Closes what the watchdog does not need: above all the tool's ends of other people's sockets and pipes.
void keep_only(std::vector<int> kept) {
    std::ranges::sort(kept);
    unsigned next = 0;
    for (int fd : kept) {
        if (static_cast<unsigned>(fd) > next)
            syscall(SYS_close_range, next, fd - 1, 0);
        next = static_cast<unsigned>(fd) + 1;
    }
    syscall(SYS_close_range, next, ~0u, 0);
}

/// A tree that is being killed may take a moment.
bool is_alive(int pidfd, bool killing) {
    pollfd end{pidfd, POLLIN, 0};
    return poll(&end, 1, killing ? 100 : 0) == 0;
}

[[noreturn]] void watch(int line, int pidfd, std::span<const WatchedSocket> sockets,
                        std::span<kernel::HeldNetworkLock> locks) {
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, nullptr);
    setsid();
    prctl(PR_SET_NAME, "criu-watchdog");
    std::vector<int> kept{line, pidfd};
    for (const kernel::HeldNetworkLock &lock : locks)
        kept.push_back(lock.fd());
    for (const WatchedSocket &socket : sockets)
        kept.push_back(socket.fd);
    keep_only(std::move(kept));
    (void)!write(line, "r", 1);
    kernel::leave_control_groups();
    const char word = last_word(line);
    if (word == kDismissed || !is_alive(pidfd, word == kKilling))
        _exit(0);
    for (const WatchedSocket &socket : sockets)
        (void)leave_repair_silently(socket.fd, socket.reuse_address);
    for (kernel::HeldNetworkLock &lock : locks)
        (void)lock.release();
    _exit(0);
}

} // namespace

Result<TcpWatchdog> TcpWatchdog::start(std::span<const WatchedSocket> sockets, std::span<kernel::HeldNetworkLock> locks,
                                       Pid root) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return base::fail_sys("make a socket pair");
    base::UniqueFd theirs(ends[1]);
    TcpWatchdog dog;
    dog.line_.reset(ends[0]);
    base::UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, root.value, 0)));
    if (!pidfd)
        return base::fail_sys("pidfd_open");
    dog.pid_ = fork();
    if (dog.pid_ < 0)
        return base::fail_sys("fork the watchdog of the network lock");
    if (dog.pid_ == 0)
        watch(theirs.get(), pidfd.get(), sockets, locks);
    theirs.reset();
    char ready = kNothing; // from its own session on, nobody ends it by accident
    if (read(dog.line_.get(), &ready, 1) != 1 || ready != kReady)
        return base::fail(base::ErrorKind::System, "the watchdog of the network lock has ended");
    return dog;
}

void TcpWatchdog::killing() {
    const char word = kKilling;
    (void)send(line_.get(), &word, 1, MSG_NOSIGNAL);
}

TcpWatchdog::TcpWatchdog(TcpWatchdog &&other) noexcept
    : line_(std::move(other.line_)), pid_(std::exchange(other.pid_, -1)) {}

void TcpWatchdog::dismiss() {
    const char word = kDismissed;
    if (line_)
        (void)send(line_.get(), &word, 1, MSG_NOSIGNAL);
    wait();
}

TcpWatchdog::~TcpWatchdog() {
    wait();
}

void TcpWatchdog::wait() {
    line_.reset();
    if (pid_ > 0)
        waitpid(pid_, nullptr, 0);
    pid_ = -1;
}

} // namespace resource
