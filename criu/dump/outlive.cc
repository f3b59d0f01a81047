#include "criu/dump/outlive.hh"

#include "base/unique_fd.hh"
#include "criu/kernel/io.hh"

#include <csignal>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <poll.h>
#include <sstream>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace dump {
namespace {

std::string text_of(const std::string &path) {
    return kernel::read_file(AT_FDCWD, path.c_str()).value_or(std::string());
}

sigset_t requests_to_end() {
    sigset_t set;
    sigemptyset(&set);
    for (int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT})
        sigaddset(&set, signal);
    return set;
}

[[nodiscard]] int exit_code(int status) {
    constexpr int kFailed = 1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : kFailed;
}

/// Passes signals on until the child has ended.
base::Result<int> follow(pid_t child, const sigset_t &signals) {
    base::UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, child, 0)));
    base::UniqueFd requests(signalfd(-1, &signals, SFD_CLOEXEC));
    if (!pidfd || !requests)
        return base::fail_sys("follow the dump");
    for (;;) {
        pollfd events[] = {{pidfd.get(), POLLIN, 0}, {requests.get(), POLLIN, 0}};
        if (poll(events, 2, -1) < 0 && errno != EINTR)
            return base::fail_sys("follow the dump");
        signalfd_siginfo request{};
        if ((events[1].revents & POLLIN) && read(requests.get(), &request, sizeof request) == sizeof request)
            kill(child, static_cast<int>(request.ssi_signo));
        int status = 0;
        if ((events[0].revents & POLLIN) && waitpid(child, &status, 0) == child)
            return exit_code(status);
    }
}

} // namespace

bool needs_living_tracer(base::Pid root) {
    const std::string status = text_of(fmt::format("/proc/{}/status", root.value));
    const bool stopped = status.find("State:\tT") != std::string::npos;
    const size_t seccomp = status.find("Seccomp:\t");
    if (stopped || (seccomp != std::string::npos && status.compare(seccomp + 9, 1, "0") != 0))
        return true;
    std::error_code error;
    for (auto &thread : std::filesystem::directory_iterator(fmt::format("/proc/{}/task", root.value), error)) {
        std::istringstream children(text_of(thread.path() / "children"));
        for (int child = 0; children >> child;)
            if (needs_living_tracer(base::Pid(child)))
                return true;
    }
    return false;
}

base::Result<std::optional<int>> go_on_in_child() {
    const sigset_t signals = requests_to_end();
    sigset_t before;
    sigprocmask(SIG_BLOCK, &signals, &before);
    const pid_t parent = getpid(), child = fork();
    if (child < 0)
        return base::fail_sys("fork");
    if (child > 0)
        return std::optional<int>(TRY(follow(child, signals)));
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(1);
    sigprocmask(SIG_SETMASK, &before, nullptr);
    return std::nullopt;
}

} // namespace dump
