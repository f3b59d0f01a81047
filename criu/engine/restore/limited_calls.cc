#include "criu/engine/restore/limited_calls.hh"

#include "compel/blob.hh"
#include "compel/remote_memory.hh"
#include "criu/resource/task/restart_errors.hh"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <fmt/format.h>

namespace restore {
namespace {

constexpr int kTimeoutMs = 30'000;

struct NarrowTime {
    int32_t seconds, ns;
};

NarrowTime narrow(const timespec &time) {
    constexpr time_t kMost = INT32_MAX;
    return {static_cast<int32_t>(std::min(time.tv_sec, kMost)), static_cast<int32_t>(time.tv_nsec)};
}

/// Where the limit can wait meanwhile. The agent's stack is free below: it never returns to where it waits. A 32-bit
/// call needs it further down, and nothing of the program's own is below its stack pointer.
uint64_t place_for_limit(const compel::Registers &agent, const resource::LimitedCall &call) {
    const uint64_t above = compel::is_32bit(call.afterwards) ? call.afterwards.rsp : agent.rsp;
    return (above - sizeof call.limit) & ~15ull;
}

void set_arguments(compel::Registers &regs, const std::array<uint64_t, 6> &arguments, uint64_t agent, bool of_32bit) {
    if (of_32bit) {
        regs.rip = agent + compel::agent_header().call32;
        regs.rbx = arguments[0], regs.rcx = arguments[1], regs.rdx = arguments[2];
        regs.rsi = arguments[3], regs.rdi = arguments[4], regs.rbp = arguments[5];
        return;
    }
    regs.rip = agent + compel::agent_header().boot; // it begins with a system call instruction
    regs.rdi = arguments[0], regs.rsi = arguments[1], regs.rdx = arguments[2];
    regs.r10 = arguments[3], regs.r8 = arguments[4], regs.r9 = arguments[5];
}

/// Points the thread at the call.
Result<void> aim(compel::StoppedThread thread, const resource::LimitedCall &call, uint64_t agent) {
    compel::Registers regs = TRY(thread.registers());
    auto arguments = call.arguments;
    if (call.limit_argument) {
        const uint64_t place = place_for_limit(regs, call);
        const auto memory = TRY(compel::RemoteMemory::open(thread.tid()));
        if (call.width == resource::TimeWidth::Narrow)
            TRY(memory.write_value(base::RemotePtr<NarrowTime>(place), narrow(call.limit)));
        else
            TRY(memory.write_value(base::RemotePtr<timespec>(place), call.limit));
        arguments.at(*call.limit_argument) = place;
    }
    regs.orig_rax = ~0ull;
    regs.rax = call.number;
    set_arguments(regs, arguments, agent, compel::is_32bit(call.afterwards));
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
                   uint64_t agent) {
    TRY(aim(thread, call, agent));
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

Result<void> enter_limited_calls(std::span<plan::ThreadFinish> threads, const tree::PidMap &pids, uint64_t agent) {
    for (plan::ThreadFinish &finish : threads)
        if (finish.limited_call)
            TRY_CTX(enter(finish, *finish.limited_call,
                          compel::StoppedThread(pids.outside(base::VPid(static_cast<pid_t>(finish.tid)))), agent),
                    fmt::format("thread {}", finish.tid));
    return {};
}

} // namespace restore
