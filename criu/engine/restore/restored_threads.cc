#include "criu/engine/restore/restored_threads.hh"

#include "compel/blob.hh"
#include "criu/engine/restore/limited_calls.hh"
#include "criu/engine/restore/root_tracer.hh"

#include <algorithm>
#include <csignal>
#include <cstring>
#include <fmt/format.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

namespace restore {
namespace {

constexpr int kTimeoutMs = 30'000;

bool holds_stop(const img::signal_queue_entry &queue) {
    return std::ranges::any_of(queue.signals(), [](const img::siginfo_entry &entry) {
        int number = 0;
        const std::string &info = entry.siginfo();
        std::memcpy(&number, info.data(), std::min(info.size(), sizeof number));
        return number == SIGSTOP;
    });
}

/// A SIGSTOP was on its way to the task: see signal_queues.cc.
bool is_about_to_stop(const plan::TaskImage &task) {
    return task.core().tc().ext().stop_pending() || holds_stop(task.core().tc().signals_s()) ||
           std::ranges::any_of(task.threads, [](const plan::ThreadImage &thread) {
               return holds_stop(thread.core.thread_core().signals_p());
           });
}

bool is_default(const plan::TaskImage &task, int signal) {
    // The image has no entries for SIGKILL and SIGSTOP.
    const int index = signal - 1 - (signal > SIGKILL) - (signal > SIGSTOP);
    const auto &actions = task.core().tc().sigactions();
    return index < actions.size() && actions[index].sigaction() == 0;
}

/// Whether a member of the group has a parent in another group of the session: otherwise the group ignores stop signals
/// of terminals.
bool has_job_control(const plan::Checkpoint &checkpoint, const plan::TaskImage &task) {
    return std::ranges::any_of(checkpoint.tasks, [&](const plan::TaskImage &member) {
        const auto parent = std::ranges::find(checkpoint.tasks, member.ppid, &plan::TaskImage::pid);
        return member.pgid == task.pgid && parent != checkpoint.tasks.end() && parent->sid == member.sid &&
               parent->pgid != member.pgid;
    });
}

/// The signal that the task was stopped by, if it stops it again.
int stop_signal(const plan::Checkpoint &checkpoint, const plan::TaskImage &task, uint64_t mask) {
    const auto signal = static_cast<int>(task.core().tc().stop_signo());
    const bool of_terminal = signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU;
    if (!task.stopped() || !of_terminal || (mask >> (signal - 1) & 1) || !is_default(task, signal) ||
        !has_job_control(checkpoint, task))
        return SIGSTOP;
    return signal;
}

/// Stops a task whose threads are all in ptrace stop, by that signal, which wait(2) will tell. What else is pending
/// waits as before: everything is blocked until the signal is delivered, and SIGSTOP, which cannot be, is exchanged.
Result<void> stop_by(compel::StoppedThread leader, int signal) {
    const uint64_t mask = TRY(leader.signal_mask());
    TRY(leader.set_signal_mask(~uint64_t{0}));
    kill(leader.tid().value, SIGSTOP);
    TRY(leader.resume());
    const compel::WaitStatus status = TRY(compel::wait(leader.tid(), kTimeoutMs));
    TRY(leader.set_signal_mask(mask));
    if (status.signal_to_deliver() != SIGSTOP)
        return {}; // somebody has been quicker: it is pending still
    TRY(leader.resume(signal));
    TRY(compel::wait(leader.tid(), kTimeoutMs));
    return {};
}

/// Before the registers, whose selectors name them.
Result<void> set_thread_areas(const plan::ThreadFinish &finish, compel::StoppedThread thread) {
    constexpr auto kSetThreadArea = static_cast<__ptrace_request>(26);
    for (user_desc area : finish.thread_areas)
        if (ptrace(kSetThreadArea, thread.tid().value, uint64_t{area.entry_number}, &area) < 0)
            return base::fail_sys(fmt::format("set its segment {}", area.entry_number));
    return {};
}

} // namespace

RestoredThreads::~RestoredThreads() {
    for (base::Pid tid : seized_)
        kill(tid.value, SIGKILL);
}

Result<void> RestoredThreads::seize_all() {
    for (const plan::TaskImage &task : context_->checkpoint.tasks) {
        if (task.dead())
            continue;
        const uint64_t options = trace_options(task);
        for (const plan::ThreadImage &thread : task.threads) {
            const base::Pid tid = context_->real_pid(thread.tid);
            const bool held = thread.tid == context_->checkpoint.root().pid && !context_->root_is_child();
            if (!held) // since its beginning
                TRY(compel::seize(tid, options));
            seized_.push_back(tid);
        }
    }
    return {};
}

void RestoredThreads::go_on() const {
    for (base::Pid tid : seized_)
        (void)compel::resume_if_stopped(compel::StoppedThread(tid)); // one that died is noticed by the coordinator
}

Result<void> RestoredThreads::unmap_arena(compel::StoppedThread leader) {
    const plan::Arena &arena = context_->around.arena;
    compel::Registers regs = TRY(leader.registers());
    regs.rip = arena.code() + compel::agent_header().boot; // a system call instruction
    regs.orig_rax = ~0ull;
    regs.rax = SYS_munmap;
    regs.rdi = arena.base;
    regs.rsi = arena.size;
    TRY(leader.set_registers(regs));
    TRY(compel::run_to_syscall(leader, kTimeoutMs));
    // Stopped again before the first instruction that is not there any more.
    TRY(compel::interrupt(leader.tid()));
    TRY(leader.resume());
    TRY(compel::wait_interrupted(leader.tid(), kTimeoutMs));
    if (auto result = static_cast<int64_t>(TRY(leader.registers()).rax); result < 0)
        return base::fail_sys(static_cast<int>(-result), "unmap the agent");
    return {};
}

Result<void> RestoredThreads::prepare() {
    for (base::Pid tid : seized_)
        TRY(compel::interrupt(tid));
    for (base::Pid tid : seized_)
        TRY(compel::wait_interrupted(tid, kTimeoutMs));
    for (const plan::TaskImage &task : context_->checkpoint.tasks)
        if (!task.dead() && !task.memory_of)
            TRY(finish_group(task));
    return {};
}

/// All tasks of one address space: the agent goes when none of them needs it any more.
Result<void> RestoredThreads::finish_group(const plan::TaskImage &maker) {
    std::vector<plan::ThreadFinish> all;
    for (const plan::TaskImage &task : context_->checkpoint.tasks) {
        if (&task != &maker && task.memory_of != maker.pid)
            continue;
        auto finishes = TRY(plan::finishes(task));
        TRY_CTX(enter_limited_calls(finishes, context_->pids, context_->around.arena.code()),
                fmt::format("task {}", task.pid));
        std::ranges::move(finishes, std::back_inserter(all));
    }
    TRY_CTX(unmap_arena(compel::StoppedThread(context_->real_pid(maker.pid))), fmt::format("task {}", maker.pid));
    for (const plan::ThreadFinish &finish : all) {
        compel::StoppedThread thread(context_->real_pid(finish.tid));
        TRY_CTX(set_thread_areas(finish, thread), fmt::format("thread {}", finish.tid));
        TRY(thread.set_registers(finish.registers));
        TRY(thread.set_xstate(finish.xstate));
        TRY(thread.set_signal_mask(finish.signal_mask));
        if (finish.dispatch)
            TRY(compel::set_syscall_dispatch(thread.tid(), *finish.dispatch));
    }
    return {};
}

// If we are killed the kernel ends the threads that have EXITKILL still and lets the others go. Hence the two rounds:
// the first takes a fraction of a microsecond for each, and behind it our end is as good as the second.
Result<void> RestoredThreads::release(bool leave_stopped) {
    for (const plan::TaskImage &task : context_->checkpoint.tasks) {
        if (task.dead())
            continue;
        const compel::StoppedThread leader(context_->real_pid(task.pid));
        const int signal = stop_signal(context_->checkpoint, task, leader.signal_mask().value_or(0));
        if (signal != SIGSTOP)
            TRY_CTX(stop_by(leader, signal), fmt::format("stop task {}", task.pid));
        else if (leave_stopped || task.stopped() || is_about_to_stop(task))
            kill(leader.tid().value, SIGSTOP);
    }
    for (base::Pid tid : seized_)
        (void)compel::StoppedThread(tid).set_options(0);
    for (base::Pid tid : seized_)
        (void)compel::StoppedThread(tid)
            .detach(); // one killed by somebody else meanwhile is gone, as it would be anyway
    seized_.clear();
    return {};
}

} // namespace restore
