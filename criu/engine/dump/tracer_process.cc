#include "criu/engine/dump/tracer_process.hh"

#include "base/unique_fd.hh"
#include "criu/kernel/control_group.hh"
#include "criu/kernel/io.hh"

#include <algorithm>
#include <csignal>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <string_view>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace dump {
namespace {

std::string status_of(base::Pid task) {
    const std::string path = fmt::format("/proc/{}/status", task.value);
    return kernel::read_file(AT_FDCWD, path.c_str()).value_or(std::string());
}

bool is_sandboxed(std::string_view status) {
    constexpr std::string_view kKey = "Seccomp:\t";
    const size_t at = status.find(kKey);
    return at != std::string_view::npos && !status.substr(at + kKey.size()).starts_with('0');
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

bool needs_living_tracer(base::Pid task) {
    const std::string status = status_of(task);
    return status.find("State:\tT") != std::string::npos || is_sandboxed(status);
}

// Syscall user dispatch, too, is off while the agent is there: somebody has to live to switch it on again.
bool needs_living_tracer(const compel::FrozenTree &tree) {
    auto dispatches = [](const compel::FrozenThread &thread) { return thread.dispatch.has_value(); };
    return std::ranges::any_of(tree.processes(), [&](const compel::FrozenProcess &process) {
        return !process.zombie && (process.group_stopped || std::ranges::any_of(process.threads, dispatches) ||
                                   is_sandboxed(status_of(process.pid)));
    });
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
    // What ends our parent's group as a whole must leave us the time to give up in good order.
    setsid();
    kernel::leave_control_groups();
    if (getppid() != parent)
        _exit(1);
    sigprocmask(SIG_SETMASK, &before, nullptr);
    return std::nullopt;
}

} // namespace dump
