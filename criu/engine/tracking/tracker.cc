#include "criu/engine/tracking/tracker.hh"

#include "criu/engine/tracking/protocol.hh"
#include "criu/kernel/child.hh"
#include "criu/kernel/control_group.hh"
#include "criu/kernel/proc_dir.hh"

#include <algorithm>
#include <csignal>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

namespace tracking {
namespace {

constexpr int kPatienceSeconds = 10; // of the tool: a tracker that was stopped must not hang it

void limit_patience(int socket) {
    const timeval limit{kPatienceSeconds, 0};
    setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

/// Nothing of whoever has started us may live on with the tracker: no pipe, no terminal, no folder, no lock.
void let_go_of_everything(const std::vector<int> &kept) {
    if (auto folder = kernel::ProcDir::open(Pid(getpid())))
        if (auto fds = folder->list_fds())
            for (int fd : *fds)
                if (std::ranges::find(kept, fd) == kept.end())
                    close(fd);
    const int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd <= 2; fd++)
        if (null != fd && std::ranges::find(kept, fd) == kept.end())
            dup2(null, fd);
    if (chdir("/") < 0) {
        // Then it keeps a folder busy; that harms nobody else.
    }
}

void become_daemon() {
    setsid();
    kernel::leave_control_groups();
    prctl(PR_SET_NAME, "criu-tracker");
    prctl(PR_SET_PDEATHSIG, 0);
    for (int number : {SIGHUP, SIGPIPE})
        signal(number, SIG_IGN);
    for (int number : {SIGINT, SIGTERM, SIGQUIT, SIGCHLD})
        signal(number, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
}

} // namespace

Result<Tracker> Tracker::find(Identity root) {
    Tracker tracker(root);
    base::UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    if (!socket)
        return base::fail_sys("socket");
    limit_patience(socket.get());
    const Address address = address_of(root);
    if (connect(socket.get(), reinterpret_cast<const sockaddr *>(&address.name), address.size) < 0)
        return errno == ECONNREFUSED ? Result<Tracker>(std::move(tracker)) : base::fail_sys("connect to the tracker");
    if (!is_own(socket.get()))
        return base::fail(base::ErrorKind::Busy, "the name of the tracker is taken by a process of another user");
    tracker.socket_ = std::move(socket);
    return tracker;
}

Result<State> Tracker::read() const {
    TRY(send(socket_.get(), {.word = Word::Read}));
    auto head = TRY(receive(socket_.get()));
    if (!head || head->word != Word::State)
        return base::bad_image("the tracker does not answer");
    return receive_state(socket_.get(), *head);
}

namespace {

Result<void> await_done(int socket) {
    auto packet = TRY(receive(socket));
    if (!packet || packet->word != Word::Done)
        return base::bad_image("the tracker does not answer");
    return {};
}

} // namespace

Result<void> Tracker::invalidate() const {
    if (!socket_)
        return {};
    TRY(send(socket_.get(), {.word = Word::Invalidate}));
    return await_done(socket_.get());
}

Result<void> Tracker::replace(const State &state) {
    if (!socket_)
        return start(state);
    TRY(send_state(socket_.get(), state));
    return await_done(socket_.get());
}

Result<void> Tracker::end() {
    if (!socket_)
        return {};
    TRY(send(socket_.get(), {.word = Word::End}));
    TRY(await_done(socket_.get()));
    socket_.reset();
    return {};
}

Result<void> Tracker::start(const State &state) const {
    base::UniqueFd listener(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    const Address address = address_of(root_);
    if (!listener || bind(listener.get(), reinterpret_cast<const sockaddr *>(&address.name), address.size) < 0 ||
        listen(listener.get(), 8) < 0)
        return base::fail_sys("the socket of the tracker");
    std::vector<int> kept{listener.get()};
    State copies{.run_id = state.run_id, .tasks = {}};
    for (const Tracked &task : state.tasks) {
        base::UniqueFd copy(fcntl(task.uffd.get(), F_DUPFD_CLOEXEC, 3));
        if (!copy)
            return base::fail_sys("the descriptors of the tracker");
        kept.push_back(copy.get());
        copies.tasks.push_back({task.task, std::move(copy)});
    }
    TRY_CTX(kernel::fork_apart([&] {
                become_daemon();
                let_go_of_everything(kept);
                serve(listener.get(), root_, std::move(copies));
            }),
            "the tracker");
    return {};
}

} // namespace tracking
