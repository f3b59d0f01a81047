#include "compel/ptrace.hh"

#include "compel/patience.hh"

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <elf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <string_view>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef NT_X86_XSTATE
#define NT_X86_XSTATE 0x202
#endif

namespace compel {
namespace {

constexpr unsigned kGetSigmask = 0x420a, kSetSigmask = 0x420b, kPeekSiginfo = 0x4209;

long raw(unsigned request, Pid tid, void *addr, void *data) {
    return ptrace(static_cast<__ptrace_request>(request), tid.value, addr, data);
}

void *number(uint64_t n) {
    return reinterpret_cast<void *>(n);
}

Result<void> call(unsigned request, Pid tid, void *addr, void *data, const char *what) {
    if (raw(request, tid, addr, data) < 0)
        return base::fail_sys(fmt::format("{} of thread {}", what, tid.value));
    return {};
}

int64_t now_ms() {
    timespec t{};
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

} // namespace

bool WaitStatus::exited() const {
    return WIFEXITED(raw) || WIFSIGNALED(raw);
}
bool WaitStatus::stopped() const {
    return WIFSTOPPED(raw);
}
bool WaitStatus::is_event(int event) const {
    return stopped() && raw >> 16 == event;
}
bool WaitStatus::is_syscall_stop() const {
    return stopped() && WSTOPSIG(raw) == (SIGTRAP | 0x80);
}
bool WaitStatus::is_interrupt() const {
    return is_event(PTRACE_EVENT_STOP);
}
bool WaitStatus::is_group_stop() const {
    return is_interrupt() && signal() != SIGTRAP;
}
int WaitStatus::signal() const {
    return WSTOPSIG(raw);
}
int WaitStatus::signal_to_deliver() const {
    return !stopped() || is_syscall_stop() || raw >> 16 ? 0 : signal();
}

// Not PTRACE_GETREGSET: its layout is that of the mode that the thread is in at the moment, and what is set through one
// layout does not take the thread to the other mode.
Result<Registers> StoppedThread::registers() const {
    Registers regs{};
    TRY(call(PTRACE_GETREGS, tid_, nullptr, &regs, "PTRACE_GETREGS"));
    return regs;
}

Result<void> StoppedThread::set_registers(const Registers &regs) const {
    return call(PTRACE_SETREGS, tid_, nullptr, const_cast<Registers *>(&regs), "PTRACE_SETREGS");
}

Result<std::vector<std::byte>> StoppedThread::xstate() const {
    std::vector<std::byte> state(16384); // AMX tiles included: 11008 bytes
    iovec iov{state.data(), state.size()};
    TRY(call(PTRACE_GETREGSET, tid_, number(NT_X86_XSTATE), &iov, "PTRACE_GETREGSET(XSTATE)"));
    state.resize(iov.iov_len);
    return state;
}

Result<void> StoppedThread::set_xstate(const std::vector<std::byte> &state) const {
    iovec iov{const_cast<std::byte *>(state.data()), state.size()};
    return call(PTRACE_SETREGSET, tid_, number(NT_X86_XSTATE), &iov, "PTRACE_SETREGSET(XSTATE)");
}

Result<uint64_t> StoppedThread::signal_mask() const {
    uint64_t mask = 0;
    TRY(call(kGetSigmask, tid_, number(sizeof mask), &mask, "PTRACE_GETSIGMASK"));
    return mask;
}

Result<void> StoppedThread::set_signal_mask(uint64_t mask) const {
    return call(kSetSigmask, tid_, number(sizeof mask), &mask, "PTRACE_SETSIGMASK");
}

Result<std::vector<siginfo_t>> StoppedThread::pending_signals(bool shared) const {
    constexpr size_t kChunk = 32;
    struct {
        uint64_t off;
        uint32_t flags;
        int32_t nr;
    } args{0, shared ? 1u : 0u, kChunk};
    std::vector<siginfo_t> queue;
    for (;;) {
        siginfo_t chunk[kChunk];
        long n = raw(kPeekSiginfo, tid_, &args, chunk);
        if (n < 0)
            return base::fail_sys(fmt::format("PTRACE_PEEKSIGINFO of thread {}", tid_.value));
        queue.insert(queue.end(), chunk, chunk + n);
        if (static_cast<size_t>(n) < kChunk)
            return queue;
        args.off += static_cast<uint64_t>(n);
    }
}

Result<void> StoppedThread::set_options(uint64_t options) const {
    return call(PTRACE_SETOPTIONS, tid_, nullptr, number(PTRACE_O_TRACESYSGOOD | options), "PTRACE_SETOPTIONS");
}
Result<void> StoppedThread::resume(int signal) const {
    return call(PTRACE_CONT, tid_, nullptr, number(static_cast<uint64_t>(signal)), "PTRACE_CONT");
}
Result<void> StoppedThread::resume_to_syscall(int signal) const {
    return call(PTRACE_SYSCALL, tid_, nullptr, number(static_cast<uint64_t>(signal)), "PTRACE_SYSCALL");
}
Result<void> StoppedThread::detach(int signal) const {
    return call(PTRACE_DETACH, tid_, nullptr, number(static_cast<uint64_t>(signal)), "PTRACE_DETACH");
}

std::optional<SyscallDispatch> syscall_dispatch(Pid tid) {
    constexpr unsigned kGetSyscallUserDispatchConfig = 0x4211;
    SyscallDispatch dispatch;
    if (raw(kGetSyscallUserDispatchConfig, tid, number(sizeof dispatch), &dispatch) < 0 || !dispatch.mode)
        return std::nullopt;
    return dispatch;
}

Result<void> set_syscall_dispatch(Pid tid, const SyscallDispatch &dispatch) {
    constexpr unsigned kSetSyscallUserDispatchConfig = 0x4210;
    SyscallDispatch copy = dispatch;
    return call(kSetSyscallUserDispatchConfig, tid, number(sizeof copy), &copy, "set the syscall user dispatch");
}

Result<void> seize(Pid tid, uint64_t extra_options) {
    auto seized = call(PTRACE_SEIZE, tid, nullptr, number(PTRACE_O_TRACESYSGOOD | extra_options), "PTRACE_SEIZE");
    if (!seized && seized.error().code() == EPERM)
        seized.error().hint(
            "a program of another user, or one that may not be dumped (PR_SET_DUMPABLE, set-user-id), takes "
            "CAP_SYS_PTRACE and CAP_DAC_OVERRIDE; one that a debugger traces has to be left by it");
    return seized;
}
Result<void> interrupt(Pid tid) {
    return call(PTRACE_INTERRUPT, tid, nullptr, nullptr, "PTRACE_INTERRUPT");
}

Result<base::UniqueFd> open_pidfd(Pid tid) {
    constexpr unsigned kThread = O_EXCL; // PIDFD_THREAD
    for (unsigned flags : {0u, kThread})
        if (base::UniqueFd fd(static_cast<int>(syscall(SYS_pidfd_open, tid.value, flags))); fd)
            return fd;
        else if (errno != ENOENT && errno != EINVAL)
            break;
    return base::fail_sys(fmt::format("pidfd_open of thread {}", tid.value));
}

namespace {

/// Holds SIGCHLD back, so that it can be waited for with a limit: waitpid(2) has none.
class HoldSigchld {
public:
    HoldSigchld() {
        sigemptyset(&set_);
        sigaddset(&set_, SIGCHLD);
        sigprocmask(SIG_BLOCK, &set_, &old_);
    }
    ~HoldSigchld() { sigprocmask(SIG_SETMASK, &old_, nullptr); }
    HoldSigchld(const HoldSigchld &) = delete;
    /// False: nothing came in this time.
    bool wait(int64_t ms) const {
        const timespec limit{ms / 1000, ms % 1000 * 1'000'000};
        return sigtimedwait(&set_, nullptr, &limit) > 0;
    }

private:
    sigset_t set_{}, old_{};
};

bool has_ended(Pid tid) {
    char text[512];
    int fd = open(fmt::format("/proc/{}/stat", tid.value).c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return true;
    ssize_t n = read(fd, text, sizeof text);
    close(fd);
    std::string_view stat(text, n > 0 ? static_cast<size_t>(n) : 0);
    size_t close_at = stat.rfind(") ");
    return close_at == std::string_view::npos || stat[close_at + 2] == 'Z' || stat[close_at + 2] == 'X';
}

/// One look. True: `status` is filled in.
Result<bool> look(Pid tid, WaitStatus &status, int flags) {
    for (;;) {
        pid_t got = waitpid(tid.value, &status.raw, __WALL | flags);
        if (got == tid.value)
            return true;
        if (got == 0)
            return false;
        if (errno == ECHILD)
            return base::fail(base::ErrorKind::Died, fmt::format("thread {} is gone", tid.value));
        if (errno != EINTR)
            return base::fail_sys(fmt::format("waitpid of thread {}", tid.value));
    }
}

} // namespace

Result<WaitStatus> wait(Pid tid, int timeout_ms) {
    WaitStatus status;
    if (timeout_ms < 0) {
        TRY(look(tid, status, 0));
        return status;
    }
    for (Patience patience; patience.lasts();)
        if (TRY(look(tid, status, WNOHANG)))
            return status;
    HoldSigchld hold;
    if (TRY(look(tid, status, WNOHANG))) // it stopped between the two lines, and its signal has gone by
        return status;
    // The signal may have been for an earlier stop, and several may have become one: look again now and then.
    constexpr int64_t kLongestMs = 50;
    for (const int64_t end = now_ms() + timeout_ms;;) {
        const int64_t left = end - now_ms();
        const bool quiet = !hold.wait(std::max<int64_t>(0, std::min(left, kLongestMs)));
        if (TRY(look(tid, status, WNOHANG)))
            return status;
        // The end of a leader is reported only when all its threads have been waited for.
        if (quiet && has_ended(tid))
            return base::fail(base::ErrorKind::Died, fmt::format("thread {} has ended", tid.value));
        if (left <= 0)
            return base::fail_sys(ETIMEDOUT, fmt::format("thread {} does not stop", tid.value));
    }
}

Result<WaitStatus> wait_interrupted(Pid tid, int timeout_ms) {
    for (;;) {
        WaitStatus status = TRY(wait(tid, timeout_ms));
        if (status.exited())
            return base::fail(base::ErrorKind::Died, fmt::format("thread {} ended", tid.value));
        if (status.is_interrupt())
            return status;
        // A signal on its way to the thread: hand it back to the kernel's queue by letting the delivery go on; the
        // interrupt that we asked for comes right behind it.
        TRY(StoppedThread(tid).resume(status.signal_to_deliver()));
    }
}

// A signal that nobody can block (SIGSTOP) is delivered in between, though the thread runs for us: to swallow it would
// lose it.
Result<std::optional<int>> wait_for_syscall(Pid tid, int timeout_ms) {
    const WaitStatus status = TRY(wait(tid, timeout_ms));
    if (status.exited())
        return base::fail(base::ErrorKind::Died, "the task died");
    if (status.is_syscall_stop())
        return std::nullopt;
    return status.signal_to_deliver();
}

Result<void> run_to_syscall(StoppedThread thread, int timeout_ms) {
    for (std::optional<int> signal = 0; signal;) {
        TRY(thread.resume_to_syscall(*signal));
        signal = TRY(wait_for_syscall(thread.tid(), timeout_ms));
    }
    return {};
}

Result<bool> resume_if_stopped(StoppedThread thread) {
    WaitStatus status;
    if (!TRY(look(thread.tid(), status, WNOHANG)))
        return false;
    if (status.exited())
        return base::fail(base::ErrorKind::Died, "the task died");
    TRY(thread.resume(status.signal_to_deliver()));
    return true;
}

} // namespace compel
