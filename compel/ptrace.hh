// Controlling threads with ptrace: stopped and running are different types, and only a stopped thread can be read.
//
// Contract of every call here: errors are Died (the thread is gone) or System with the errno of ptrace(2); a thread
// that is killed while we hold it makes the next call return Died. Nothing here waits longer than asked.
#pragma once

#include "base/ids.hh"
#include "base/result.hh"
#include "base/unique_fd.hh"

#include <csignal>
#include <optional>
#include <sys/user.h>
#include <vector>

namespace compel {

using base::Pid;
using base::Result;

/// The general registers, in the layout that the kernel has for 64-bit tracers, whatever mode the thread is in.
using Registers = user_regs_struct;

/// Selectors of the kernel for code of programs, and of what belongs to it.
inline constexpr uint16_t kCode64 = 0x33, kCode32 = 0x23, kData = 0x2b;

/// Whether the thread runs 32-bit code, whose system calls have other numbers and registers.
inline bool is_32bit(const Registers &registers) {
    return registers.cs == kCode32;
}

/// Of restart_syscall(2), in the mode of the thread.
inline uint64_t restart_number(const Registers &registers) {
    constexpr uint64_t kOf64 = 219, kOf32 = 0;
    return is_32bit(registers) ? kOf32 : kOf64;
}

/// Why a traced thread stopped or ended, decoded once.
struct WaitStatus {
    int raw = 0;
    bool exited() const;
    bool stopped() const;
    bool is_event(int event) const; ///< PTRACE_EVENT_*
    bool is_syscall_stop() const;   ///< needs PTRACE_O_TRACESYSGOOD
    bool is_interrupt() const;      ///< PTRACE_INTERRUPT or group stop (PTRACE_EVENT_STOP)
    bool is_group_stop() const;     ///< stopped by SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU
    int signal() const;
    /// That the thread goes on with, if this is the stop before a signal's delivery; 0 at any other.
    int signal_to_deliver() const;
};

/// Syscall user dispatch: the kernel's struct ptrace_sud_config.
struct SyscallDispatch {
    uint64_t mode = 0; ///< 1: on
    uint64_t selector = 0, offset = 0, len = 0;
};

/// A thread in ptrace stop. A value: the attachment itself belongs to the tracer (see freezer.hh) and ends with it.
class StoppedThread {
public:
    explicit StoppedThread(Pid tid) : tid_(tid) {}
    Pid tid() const { return tid_; }

    Result<Registers> registers() const;
    Result<void> set_registers(const Registers &) const;
    /// The extended state (NT_X86_XSTATE), standard format; what this CPU has, 576 bytes at least.
    Result<std::vector<std::byte>> xstate() const;
    Result<void> set_xstate(const std::vector<std::byte> &) const;
    Result<uint64_t> signal_mask() const;
    Result<void> set_signal_mask(uint64_t) const;
    /// Pending signals, oldest first; `shared` picks the process-wide queue.
    Result<std::vector<siginfo_t>> pending_signals(bool shared) const;
    /// Replaces all options.
    Result<void> set_options(uint64_t options) const;

    /// Lets the thread run until something stops it.
    /// With `signal` the stop before a signal's delivery ends in that delivery.
    Result<void> resume(int signal = 0) const;
    /// Lets the thread run to the next entry to, or exit from, a system call.
    Result<void> resume_to_syscall(int signal = 0) const;
    /// Lets the thread go. The kernel restarts an interrupted system call by what the registers say.
    Result<void> detach(int signal = 0) const;

private:
    Pid tid_;
};

/// Whether the thread has any: on. Since Linux 6.4; nothing on older ones, and where it is off.
std::optional<SyscallDispatch> syscall_dispatch(Pid tid);
Result<void> set_syscall_dispatch(Pid tid, const SyscallDispatch &);

/// PTRACE_SEIZE; the thread keeps running. PTRACE_O_TRACESYSGOOD is always set.
Result<void> seize(Pid tid, uint64_t extra_options = 0);
Result<void> interrupt(Pid tid);

/// A pidfd of a thread; of one that does not lead its process since Linux 6.9 only.
/// Errors: Died; System. Source: pidfd_open(2).
Result<base::UniqueFd> open_pidfd(Pid tid);
/// Waits for the next stop or the end of `tid`. Fails with System(ETIMEDOUT) after `timeout_ms` (-1: never).
Result<WaitStatus> wait(Pid tid, int timeout_ms);
/// Waits until `tid` is in ptrace stop by PTRACE_INTERRUPT or group stop. Other stops on the way (signal delivery) keep
/// their signal pending. Died if it ends.
Result<WaitStatus> wait_interrupted(Pid tid, int timeout_ms);
/// Of a thread that was resumed to the next system call: nothing once it is there, or else the signal with which it is
/// to be resumed once more. Died if it ends.
Result<std::optional<int>> wait_for_syscall(Pid tid, int timeout_ms);
/// Lets it run to the next entry to, or exit from, a system call. Stops that others have caused are gone through, so
/// that they hold once nobody traces the thread any more. `timeout_ms` is for each of them. Died if it ends.
Result<void> run_to_syscall(StoppedThread thread, int timeout_ms);
/// Lets a thread that is to run go on if somebody (SIGSTOP, SIGCONT) has stopped it, in the same way. True: it had
/// stopped. Died if it ends.
Result<bool> resume_if_stopped(StoppedThread thread);

} // namespace compel
