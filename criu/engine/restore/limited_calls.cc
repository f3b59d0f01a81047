#include "criu/engine/restore/limited_calls.hh"

#include "compel/remote_memory.hh"
#include "criu/resource/task/restart_errors.hh"

#include <cerrno>
#include <fmt/format.h>

namespace restore {
namespace {

constexpr int kTimeoutMs = 30'000;

/// Points the thread at the call. The agent's stack is free below: it never returns to where it waits.
Result<void> aim(compel::StoppedThread thread, const resource::LimitedCall &call, uint64_t instruction) {
    compel::Registers regs = TRY(thread.registers());
    auto arguments = call.arguments;
    if (call.limit_argument) {
        const uint64_t place = (regs.rsp - sizeof call.limit) & ~15ull;
        const auto memory = TRY(compel::RemoteMemory::open(thread.tid()));
        TRY(memory.write_value(base::RemotePtr<timespec>(place), call.limit));
        arguments.at(*call.limit_argument) = place;
    }
    regs.rip = instruction;
    regs.orig_rax = ~0ull;
    regs.rax = call.number;
    regs.rdi = arguments[0], regs.rsi = arguments[1], regs.rdx = arguments[2];
    regs.r10 = arguments[3], regs.r8 = arguments[4], regs.r9 = arguments[5];
    return thread.set_registers(regs);
}

/// What the call returned. It is interrupted from its beginning, and so never sleeps.
Result<int64_t> make_and_interrupt(compel::StoppedThread thread) {
    TRY(compel::run_to_syscall(thread, kTimeoutMs));
    TRY(compel::interrupt(thread.tid()));
    TRY(thread.resume());
    TRY(compel::wait_interrupted(thread.tid(), kTimeoutMs));
    return static_cast<int64_t>(TRY(thread.registers()).rax);
}

/// Nothing was left to wait for, or it has happened.
bool is_over(int64_t result) {
    return result >= 0 || result == -ETIMEDOUT || result == -EAGAIN;
}

Result<void> enter(plan::ThreadFinish &finish, const resource::LimitedCall &call, compel::StoppedThread thread,
                   uint64_t instruction) {
    TRY(aim(thread, call, instruction));
    const int64_t result = TRY(make_and_interrupt(thread));
    if (static_cast<uint64_t>(result) != resource::cut_off_by(resource::kRestartBlock) && !is_over(result))
        return {};
    finish.registers = call.afterwards;
    if (is_over(result)) {
        finish.registers.rax = static_cast<uint64_t>(result);
        finish.registers.orig_rax = ~0ull;
    }
    return {};
}

} // namespace

Result<void> enter_limited_calls(std::span<plan::ThreadFinish> threads, const tree::PidMap &pids,
                                 uint64_t instruction) {
    for (plan::ThreadFinish &finish : threads)
        if (finish.limited_call)
            TRY_CTX(enter(finish, *finish.limited_call,
                          compel::StoppedThread(pids.outside(base::VPid(static_cast<pid_t>(finish.tid)))), instruction),
                    fmt::format("thread {}", finish.tid));
    return {};
}

} // namespace restore
