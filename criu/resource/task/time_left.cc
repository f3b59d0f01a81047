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

#include <algorithm>
#include <fmt/format.h>
#include <linux/futex.h>
#include <sys/syscall.h>

namespace resource {
namespace {

constexpr uint64_t kSecond = kSecondNs, kMillisecond = kMillisecondNs;

bool is_relative_futex(const CallView &call) {
    const auto operation = static_cast<int>(*call.arguments[1]) & FUTEX_CMD_MASK;
    return operation == FUTEX_WAIT && *call.arguments[3] != 0;
}

/// Where nanosleep and clock_nanosleep have the pointer to the whole time.
unsigned long long *request_of(const CallView &call) {
    return call.number == SYS_nanosleep         ? call.arguments[0]
           : call.number == SYS_clock_nanosleep ? call.arguments[2]
                                                : nullptr;
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

std::optional<uint64_t> read_time(const compel::RemoteMemory &memory, uint64_t address, TimeWidth width) {
    auto time = memory.read_value(base::RemotePtr<timespec>(address));
    if (width == TimeWidth::Narrow) {
        struct Narrow {
            int32_t seconds, ns;
        };
        const auto narrow = memory.read_value(base::RemotePtr<Narrow>(address));
        time = narrow ? Result<timespec>(timespec{narrow->seconds, narrow->ns}) : std::unexpected(narrow.error());
    }
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
    const CallView call = view_of(r, thread.original_syscall);
    const auto &argument = call.arguments;
    if (call.number == SYS_poll && static_cast<int32_t>(*argument[2]) > 0)
        return InterruptedWait{Kind::Poll, static_cast<uint32_t>(*argument[2]) * kMillisecond, 0, call.width};
    // What is too long or not there any more counts as long.
    auto asked = [&](uint64_t at) { return read_time(memory, at, call.width).value_or(UINT64_MAX); };
    if (call.number == SYS_futex && is_relative_futex(call))
        return InterruptedWait{Kind::Futex, asked(*argument[3]), 0, call.width};
    if (const auto *request = request_of(call))
        return InterruptedWait{Kind::Sleep, asked(*request), *argument[call.number == SYS_nanosleep ? 1 : 3],
                               call.width};
    return std::nullopt;
}

void write_time_left(const tree::ThreadFacts &thread, img::ext_thread_core *ext) {
    if (!thread.time_left_ns)
        return;
    ext->set_syscall_left_ns(*thread.time_left_ns);
    compel::Registers r = thread.registers;
    const auto *request = request_of(view_of(r, thread.original_syscall));
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
    const CallView view = view_of(call.afterwards, call.number);
    auto *request = request_of(view);
    if (request && ext.has_syscall_request())
        *request = ext.syscall_request();
    std::ranges::transform(view.arguments, call.arguments.begin(), [](const auto *word) { return *word; });
    const std::optional<size_t> limit = limit_argument(view.number);
    if (!limit)
        return base::bad_image(fmt::format("core: system call {} has no time left", call.number));
    if (view.number == SYS_poll)
        call.arguments[*limit] = to_poll_limit(left);
    else
        call.limit_argument = limit;
    call.width = view.width;
    return call;
}

} // namespace resource
