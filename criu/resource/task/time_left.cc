// A restored thread makes an interrupted call anew, from its arguments: it would wait its whole time again. Of some the
// kernel tells what is left: select, pselect and ppoll write it over their argument, nanosleep to where its second one
// points. Of the others only the kernel's restart block knows when they end (time_left_kernel.cc).
//
// The restart block is the kernel's own, and nothing but the call itself fills it. So the restored thread makes the
// call once more with the time that is left, while it is traced, and is interrupted at once; from there on it is in
// the state in which the dump has found it. Its registers then are those that the program had, so that no program sees
// another argument than it gave.
#include "criu/resource/task/time_left.hh"

#include "criu/resource/task/restart_errors.hh"
#include "criu/resource/task/time_units.hh"

#include <fmt/format.h>
#include <linux/futex.h>
#include <sys/syscall.h>

namespace resource {
namespace {

constexpr uint64_t kSecond = kSecondNs, kMillisecond = kMillisecondNs;

bool is_relative_futex(const compel::Registers &r) {
    const auto operation = static_cast<int>(r.rsi) & FUTEX_CMD_MASK;
    return operation == FUTEX_WAIT && r.r10 != 0;
}

/// Where nanosleep and clock_nanosleep have the pointer to the whole time.
unsigned long long *request_of(uint64_t number, compel::Registers &r) {
    return number == SYS_nanosleep ? &r.rdi : number == SYS_clock_nanosleep ? &r.rdx : nullptr;
}

timespec to_timespec(uint64_t ns) {
    return {static_cast<time_t>(ns / kSecond), static_cast<long>(ns % kSecond)};
}

/// Which argument the time limit is; nothing for a call that has none of these.
std::optional<size_t> limit_argument(uint64_t number) {
    switch (number) {
    case SYS_nanosleep:
        return 0;
    case SYS_clock_nanosleep:
    case SYS_poll:
        return 2;
    case SYS_futex:
        return 3;
    default:
        return std::nullopt;
    }
}

} // namespace

std::optional<uint64_t> read_time(const compel::RemoteMemory &memory, uint64_t address) {
    auto time = memory.read_value(base::RemotePtr<timespec>(address));
    if (!time || time->tv_sec < 0 || time->tv_nsec < 0 || static_cast<uint64_t>(time->tv_nsec) >= kSecond)
        return std::nullopt;
    constexpr uint64_t kForever = 1ull << 33; // seconds: to the kernel, too, what is longer is for ever
    return std::min(static_cast<uint64_t>(time->tv_sec), kForever) * kSecond + static_cast<uint64_t>(time->tv_nsec);
}

std::optional<InterruptedWait> interrupted_wait(const tree::ThreadFacts &thread, const compel::RemoteMemory &memory) {
    using Kind = InterruptedWait::Kind;
    compel::Registers r = thread.registers;
    if (static_cast<int64_t>(r.orig_rax) < 0 || r.rax != cut_off_by(kRestartBlock))
        return std::nullopt;
    if (thread.original_syscall == SYS_poll && static_cast<int32_t>(r.rdx) > 0)
        return InterruptedWait{Kind::Poll, static_cast<uint32_t>(r.rdx) * kMillisecond};
    // What is too long or not there any more counts as long.
    auto asked = [&](uint64_t at) { return read_time(memory, at).value_or(UINT64_MAX); };
    if (thread.original_syscall == SYS_futex && is_relative_futex(r))
        return InterruptedWait{Kind::Futex, asked(r.r10)};
    if (const auto *request = request_of(thread.original_syscall, r))
        return InterruptedWait{Kind::Sleep, asked(*request), thread.original_syscall == SYS_nanosleep ? r.rsi : r.r10};
    return std::nullopt;
}

void write_time_left(const tree::ThreadFacts &thread, img::ext_thread_core *ext) {
    if (!thread.time_left_ns)
        return;
    ext->set_syscall_left_ns(*thread.time_left_ns);
    compel::Registers r = thread.registers;
    const auto *request = request_of(thread.original_syscall, r);
    if (request && ext->syscall_restart() == kRestartBlock)
        ext->set_syscall_request(*request);
}

Result<std::optional<LimitedCall>> read_limited_call(const img::core_entry &core, const compel::Registers &registers) {
    const img::ext_thread_core &ext = core.thread_core().ext();
    if (!ext.has_syscall_left_ns() || ext.syscall_restart() != kRestartBlock)
        return std::nullopt;
    const uint64_t left = ext.syscall_left_ns();
    LimitedCall call;
    call.number = registers.orig_rax;
    call.limit = to_timespec(left);
    call.afterwards = registers;
    call.afterwards.rax = cut_off_by(kRestartBlock);
    auto *request = request_of(call.number, call.afterwards);
    if (request && ext.has_syscall_request())
        *request = ext.syscall_request();
    const compel::Registers &r = call.afterwards;
    call.arguments = {r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9};
    const std::optional<size_t> limit = limit_argument(call.number);
    if (!limit)
        return base::bad_image(fmt::format("core: system call {} has no time left", call.number));
    if (call.number == SYS_poll)
        call.arguments[*limit] = to_poll_limit(left);
    else
        call.limit_argument = limit;
    return call;
}

} // namespace resource
