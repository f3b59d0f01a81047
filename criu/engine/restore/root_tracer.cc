#include "criu/engine/restore/root_tracer.hh"

#include "compel/ptrace.hh"

#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <poll.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace restore {
namespace {

constexpr uint64_t kSuspendSeccomp = 1 << 21; // PTRACE_O_SUSPEND_SECCOMP

bool has_seccomp(const plan::TaskImage &task) {
    for (const plan::ThreadImage &thread : task.threads)
        if (thread.core.thread_core().seccomp_mode())
            return true;
    return false;
}

} // namespace

uint64_t trace_options(const plan::TaskImage &task) {
    return PTRACE_O_EXITKILL | (has_seccomp(task) ? kSuspendSeccomp : 0);
}

Result<void> Hold::prepare(RestoreContext &context) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return base::fail_sys("pipe");
    waiter_.reset(ends[0]);
    gate_.reset(ends[1]);
    context.gate = {waiter_.get(), gate_.get()};
    return {};
}

Result<void> Hold::take(RestoreContext &context) {
    const base::Pid root = context.real_root();
    waiter_.reset();
    pidfd_.reset(static_cast<int>(syscall(SYS_pidfd_open, root.value, 0)));
    TRY(compel::seize(root, trace_options(context.checkpoint.root())));
    root_ = root;
    const char open = 1;
    if (write(gate_.get(), &open, 1) != 1)
        return base::fail_sys("let the root task go on");
    gate_.reset();
    return {};
}

void Hold::go_on() const {
    if (root_.value > 0)
        (void)compel::resume_if_stopped(compel::StoppedThread(root_)); // whether it lives others look
}

void Hold::end() {
    gate_.reset();
    if (!pidfd_)
        return;
    syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGKILL, nullptr, 0);
    constexpr int kLongEnoughMs = 5000;
    pollfd ended{.fd = pidfd_.get(), .events = POLLIN, .revents = 0};
    poll(&ended, 1, kLongEnoughMs);
}

void wait_for_hold(const RestoreContext &context) {
    if (context.root_is_child())
        return;
    close(context.gate.write);
    char byte;
    ssize_t n;
    while ((n = read(context.gate.read, &byte, 1)) < 0 && errno == EINTR) {
    }
    if (n != 1)
        _exit(1);
    close(context.gate.read);
}

} // namespace restore
