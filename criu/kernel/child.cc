#include "criu/kernel/child.hh"

#include "base/guarded.hh"
#include "base/unique_fd.hh"

#include <csignal>
#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace kernel {

namespace {

int wait_for(pid_t pid, int options) {
    int status = 0;
    while (waitpid(pid, &status, options) < 0)
        if (errno != EINTR)
            return -1;
    return status;
}

} // namespace

Result<void> in_child(const char *what, int (*body)()) {
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0)
        return base::fail_sys("fork");
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        _exit(getppid() == parent ? body() : ESRCH);
    }
    int code = TRY_CTX(exit_code(pid), what);
    if (code != 0)
        return base::fail_sys(code, what);
    return {};
}

Result<void> run_to_end(const std::function<Result<void>()> &body) {
    struct Call {
        const std::function<Result<void>()> &body;
        Result<void> outcome = base::fail(base::ErrorKind::Died, "a helper process was killed");
    } call{body};
    constexpr size_t kStack = 256u << 10;
    std::vector<std::byte> stack(kStack);
    auto run = [](void *argument) {
        auto &asked = *static_cast<Call *>(argument);
        asked.outcome = base::guarded(asked.body);
        return 0;
    };
    // No signal at its end: nobody else's business.
    const pid_t pid = clone(run, stack.data() + stack.size(), CLONE_VM | CLONE_VFORK | CLONE_FILES, &call);
    if (pid < 0)
        return base::fail_sys("clone");
    wait_for(pid, __WALL);
    return std::move(call.outcome);
}

Result<base::Pid> fork_apart(const std::function<void()> &body) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return base::fail_sys("pipe");
    base::UniqueFd read_end(ends[0]), write_end(ends[1]);
    const pid_t between = fork();
    if (between < 0)
        return base::fail_sys("fork");
    if (between == 0) {
        setsid(); // not the caller's terminal either, nor can it get one by opening it
        const pid_t apart = fork();
        if (apart == 0) {
            read_end.reset();
            write_end.reset();
            body();
            _exit(0);
        }
        _exit(write(write_end.get(), &apart, sizeof apart) == sizeof apart ? 0 : 1);
    }
    write_end.reset();
    pid_t apart = -1;
    const bool told = read(read_end.get(), &apart, sizeof apart) == sizeof apart;
    wait_for(between, 0);
    return told && apart > 0 ? Result<base::Pid>(apart) : base::fail_sys(EAGAIN, "fork");
}

Result<int> exit_code(pid_t pid) {
    int status = wait_for(pid, 0);
    if (!WIFEXITED(status))
        return base::fail(base::ErrorKind::Unsupported, "the probe was killed");
    return WEXITSTATUS(status);
}

Result<Tracee> Tracee::start() {
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0)
        return base::fail_sys("fork");
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        while (getppid() == parent)
            pause();
        _exit(0);
    }
    Tracee out(pid);
    if (ptrace(PTRACE_SEIZE, pid, nullptr, nullptr) != 0 || ptrace(PTRACE_INTERRUPT, pid, nullptr, nullptr) != 0)
        return base::fail_sys("ptrace of a child");
    if (!WIFSTOPPED(wait_for(pid, __WALL)))
        return base::fail(base::ErrorKind::Unsupported, "a traced child does not stop");
    return out;
}

Tracee::~Tracee() {
    if (pid_ <= 0)
        return;
    kill(pid_, SIGKILL);
    wait_for(pid_, __WALL);
}

} // namespace kernel
