#include "criu/engine/dump/tracer_process.hh"

#include "base/guarded.hh"
#include "base/unique_fd.hh"
#include "criu/kernel/control_group.hh"
#include "criu/kernel/io.hh"

#include <algorithm>
#include <charconv>
#include <csignal>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <string_view>
#include <sys/mman.h>
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

/// Passes signals on until the child has ended, and returns its wait status.
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
            return status;
    }
}

// What the child has to say lies in a memory file: whether it succeeded, then the outcome or the error.

void put(std::string &out, std::string_view text) {
    out += fmt::format("{} ", text.size());
    out += text;
}

std::string take(std::string_view &rest) {
    size_t size = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), size);
    const auto head = static_cast<size_t>(end - rest.data()) + 1;
    if (error != std::errc() || head > rest.size() || size > rest.size() - head)
        return std::string();
    std::string text(rest.substr(head, size));
    rest.remove_prefix(head + size);
    return text;
}

int take_number(std::string_view &rest) {
    const std::string text = take(rest);
    int value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
}

void write_report(int fd, const base::Result<engine::DumpOutcome> &outcome) {
    std::string text;
    if (outcome) {
        put(text, "1");
        put(text, std::to_string(outcome->script_status));
        put(text, outcome->statistics.SerializeAsString());
    } else {
        const base::Error &error = outcome.error();
        put(text, "0");
        put(text, std::to_string(static_cast<int>(error.kind())));
        put(text, std::to_string(error.code()));
        put(text, error.hint());
        for (const std::string &frame : error.frames())
            put(text, frame);
    }
    if (write(fd, text.data(), text.size()) < 0)
        _exit(1);
}

base::Result<engine::DumpOutcome> read_report(int fd, int status) {
    const std::string text = TRY(kernel::read_file(AT_FDCWD, fmt::format("/proc/self/fd/{}", fd).c_str()));
    std::string_view rest = text;
    if (rest.empty())
        return base::fail(base::ErrorKind::Died, WIFSIGNALED(status)
                                                     ? fmt::format("it was ended by signal {}", WTERMSIG(status))
                                                     : "it has ended");
    if (take_number(rest)) {
        engine::DumpOutcome outcome;
        outcome.script_status = take_number(rest);
        outcome.statistics.ParseFromString(take(rest));
        return outcome;
    }
    const auto kind = static_cast<base::ErrorKind>(take_number(rest));
    const int code = take_number(rest);
    std::string hint = take(rest);
    std::vector<std::string> frames;
    while (!rest.empty())
        frames.push_back(take(rest));
    return base::fail(base::Error(kind, code, std::move(frames), std::move(hint)));
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

base::Result<engine::DumpOutcome> run_in_child(const std::function<base::Result<engine::DumpOutcome>()> &body) {
    const base::UniqueFd report(memfd_create("dump", MFD_CLOEXEC));
    if (!report)
        return base::fail_sys("memfd_create");
    const sigset_t signals = requests_to_end();
    sigset_t before;
    sigprocmask(SIG_BLOCK, &signals, &before);
    const pid_t parent = getpid(), child = fork();
    if (child < 0)
        return base::fail_sys("fork");
    if (child > 0) {
        auto status = follow(child, signals);
        sigprocmask(SIG_SETMASK, &before, nullptr);
        TRY(status);
        return read_report(report.get(), *status);
    }
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    // What ends our parent's group as a whole must leave us the time to give up in good order.
    setsid();
    kernel::leave_control_groups();
    if (getppid() != parent)
        _exit(1);
    sigprocmask(SIG_SETMASK, &before, nullptr);
    write_report(report.get(), base::guarded(body));
    _exit(0);
}

} // namespace dump
