#include "criu/kernel/child.hh"

#include "base/guarded.hh"

#include <csignal>
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
