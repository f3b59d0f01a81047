// Anybody may connect. A client who is root gets a worker with our rights; for anybody else the worker takes on his
// (rights.hh) before it reads the first byte, so that it is the kernel who decides what may be opened, stopped and
// made.

#include "criu/service/daemon.hh"

#include "criu/kernel/readiness.hh"
#include "criu/service/rights.hh"
#include "criu/service/worker.hh"

#include <algorithm>
#include <csignal>
#include <fcntl.h>
#include <fmt/format.h>
#include <map>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

namespace service {
namespace {

constexpr const char *kDefaultAddress = "criu_service.socket";
constexpr size_t kMostWorkers = 256, kMostOfOneUser = 32;
constexpr timeval kPatience{30, 0}; // with a client that connects and says nothing

/// The socket's file goes with it.
class Listener {
public:
    static Result<Listener> at(std::string path);
    ~Listener() {
        if (socket_)
            unlink(path_.c_str());
    }
    Listener(Listener &&) = default;
    int fd() const { return socket_.get(); }
    const std::string &path() const { return path_; }

private:
    Listener() = default;
    base::UniqueFd socket_;
    std::string path_;
};

/// What another service has left; anything but a socket is not ours to remove.
Result<void> remove_old_socket(const char *path) {
    struct stat there {};
    if (lstat(path, &there) < 0)
        return {};
    if (!S_ISSOCK(there.st_mode))
        return base::fail(base::ErrorKind::Busy, fmt::format("{} is there and no socket", path));
    if (unlink(path) < 0)
        return base::fail_sys(fmt::format("remove {}", path));
    return {};
}

Result<Listener> Listener::at(std::string path) {
    Listener listener;
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path)
        return base::fail(base::ErrorKind::Usage, fmt::format("the address {} is too long", path));
    path.copy(address.sun_path, path.size());
    TRY(remove_old_socket(path.c_str()));
    base::UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    constexpr mode_t kForAll = 0666;
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
    if (!socket || bind(socket.get(), reinterpret_cast<const sockaddr *>(&address), size) < 0 ||
        chmod(path.c_str(), kForAll) < 0 || listen(socket.get(), SOMAXCONN) < 0)
        return base::fail_sys(fmt::format("listen at {}", path));
    listener.path_ = std::move(path);
    listener.socket_ = std::move(socket);
    return listener;
}

class Service {
public:
    Service(Listener &listener, base::Log &log) : listener_(listener), log_(log) {}
    Result<int> run();

private:
    void accept_one();
    /// In the worker. Returns its exit code.
    int work_for(base::UniqueFd socket);
    void collect_workers();
    bool is_full(uid_t uid) const;

    Listener &listener_;
    base::Log &log_;
    base::UniqueFd signals_;
    sigset_t old_mask_{};
    std::map<pid_t, uid_t> workers_;
};

bool Service::is_full(uid_t uid) const {
    const auto same =
        static_cast<size_t>(std::ranges::count_if(workers_, [&](const auto &worker) { return worker.second == uid; }));
    return workers_.size() >= kMostWorkers || (uid != 0 && same >= kMostOfOneUser);
}

int Service::work_for(base::UniqueFd socket) {
    constexpr int kFailed = 1;
    for (int number : {SIGINT, SIGTERM, SIGQUIT, SIGCHLD, SIGPIPE})
        signal(number, SIG_DFL);
    sigprocmask(SIG_SETMASK, &old_mask_, nullptr);
    signals_.reset();
    close(listener_.fd());
    setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
    auto connection = Connection::on(std::move(socket));
    if (!connection)
        return kFailed;
    const bool trusted = connection->peer().uid() == 0;
    if (!trusted)
        if (auto became = become_client(connection->peer()); !became) {
            log_.error("service: " + became.error().message());
            return kFailed;
        }
    return work(*connection, cli::Options{}, trusted ? Standing::Trusted : Standing::Anybody);
}

void Service::accept_one() {
    base::UniqueFd socket(accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!socket)
        return; // gone again
    auto peer = Peer::of(socket.get());
    if (!peer || is_full(peer->uid())) {
        log_.warn("service: a connection too many is closed");
        return;
    }
    const pid_t child = fork();
    if (child < 0)
        return log_.warn(base::Error::sys("service: fork").message());
    if (child == 0)
        _exit(work_for(std::move(socket)));
    workers_.emplace(child, peer->uid());
}

void Service::collect_workers() {
    int status = 0;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
        workers_.erase(pid);
        if (WIFSIGNALED(status))
            log_.warn(fmt::format("service: worker {} was ended by signal {}", pid, WTERMSIG(status)));
    }
}

Result<int> Service::run() {
    sigset_t set;
    sigemptyset(&set);
    for (int number : {SIGINT, SIGTERM, SIGQUIT, SIGCHLD})
        sigaddset(&set, number);
    sigprocmask(SIG_BLOCK, &set, &old_mask_);
    signals_ = base::UniqueFd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!signals_)
        return base::fail_sys("service: signalfd");
    for (;;) {
        pollfd events[] = {{listener_.fd(), POLLIN, 0}, {signals_.get(), POLLIN, 0}};
        if (poll(events, 2, -1) < 0 && errno != EINTR)
            return base::fail_sys("service: poll");
        signalfd_siginfo info{};
        while (read(signals_.get(), &info, sizeof info) == sizeof info)
            if (info.ssi_signo != SIGCHLD)
                return 0;
        collect_workers();
        if (events[0].revents & POLLIN)
            accept_one();
    }
}

} // namespace

Result<int> serve(const cli::Options &options, base::Log &log) {
    Listener listener = TRY_CTX(Listener::at(options.address.empty() ? kDefaultAddress : options.address), "service");
    if (options.daemon) {
        constexpr int kStayHere = 1, kCloseStandardFiles = 0;
        if (::daemon(kStayHere, kCloseStandardFiles) < 0)
            return base::fail_sys("service: daemon"); // the process that calls it ends without destructors
    }
    TRY_CTX(kernel::write_pidfile(AT_FDCWD, options.pidfile, base::Pid(getpid())), "service");
    TRY_CTX(kernel::say_ready(options.status_fd), "service");
    log.info(fmt::format("service: ready at {}", listener.path()));
    return Service(listener, log).run();
}

} // namespace service
