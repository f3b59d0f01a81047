// The time left of the calls whose end only the kernel knows, and which calls they are where that does not show. It is
// read in the kernel's memory (task_struct::restart_block), but only for calls that were given a time worth the cost:
// what takes less comes back late by less than that.
#include "criu/resource/task/restart_errors.hh"
#include "criu/resource/task/time_left.hh"
#include "criu/resource/task/time_units.hh"
#include "criu/resource/task/traced_threads.hh"

#include <deque>
#include <fmt/format.h>
#include <linux/futex.h>
#include <sys/syscall.h>

namespace resource {
namespace {

using Address = TaskAddress;

using Kind = InterruptedWait::Kind;

constexpr uint64_t kWorthwhile = kSecondNs;

/// A thread that only the kernel knows enough of.
struct Unknown {
    tree::ThreadFacts *thread;
    const compel::RemoteMemory *memory;
};

// ---- restart blocks ------------------------------------------------------------------------------------------------

struct End {
    int64_t at_ns = 0;
    clockid_t clock = CLOCK_MONOTONIC;
};

Result<End> end_of_poll(const KernelMemory &memory, Address block) {
    // Its two members have become a timespec in Linux 6.19.
    const bool split = memory.member(block, "restart_block", "poll.tv_sec").has_value();
    const uint64_t seconds = TRY(memory.member(block, "restart_block", split ? "poll.tv_sec" : "poll.end_time.tv_sec")),
                   ns = TRY(memory.member(block, "restart_block", split ? "poll.tv_nsec" : "poll.end_time.tv_nsec"));
    return End{static_cast<int64_t>(seconds) * kSecondNs + static_cast<int64_t>(ns)};
}

Result<End> end_of(const KernelMemory &memory, Address block, Kind kind) {
    auto field = [&](const char *name) { return memory.member(block, "restart_block", name); };
    switch (kind) {
    case Kind::Poll:
        return end_of_poll(memory, block);
    case Kind::Futex:
        return End{static_cast<int64_t>(TRY(field("futex.time")))};
    case Kind::Sleep:
        return End{static_cast<int64_t>(TRY(field("nanosleep.expires"))),
                   static_cast<clockid_t>(TRY(field("nanosleep.clockid")))};
    }
    return base::fail(base::ErrorKind::Bug, "a wait of no kind");
}

/// Nothing where the end is told by a clock that runs otherwise (processor time), or makes no sense.
std::optional<uint64_t> time_until(const End &end, uint64_t asked_ns) {
    const auto now = now_ns(end.clock);
    if (!now)
        return std::nullopt;
    const int64_t left = end.at_ns - *now;
    if (left > 0 && static_cast<uint64_t>(left) > asked_ns)
        return std::nullopt;
    return static_cast<uint64_t>(std::max<int64_t>(left, 0));
}

/// Clocks of time, not of processors, nor those that wake the machine: of these the kernel keeps another number.
bool is_plain_clock(const tree::ThreadFacts &thread) {
    compel::Registers r = thread.registers;
    const CallView call = view_of(r, thread.original_syscall);
    if (call.number != SYS_clock_nanosleep)
        return true;
    const auto clock = static_cast<clockid_t>(*call.arguments[0]);
    return clock == CLOCK_REALTIME || clock == CLOCK_MONOTONIC || clock == CLOCK_BOOTTIME || clock == CLOCK_TAI;
}

// ---- calls ---------------------------------------------------------------------------------------------------------

// A call that was interrupted before is restart_syscall by now, and its number is not always in the code before it
// (dump/collect.cc): syscall(2) takes it from a register. What the block holds came from the arguments, which the
// program still has in its registers.
Result<uint64_t> number_of_call(const KernelMemory &memory, Address block, compel::Registers r) {
    auto field = [&](const char *name) { return memory.member(block, "restart_block", name); };
    const auto low = [](uint64_t word) { return static_cast<uint32_t>(word); };
    const auto argument = view_of(r, r.orig_rax).arguments;
    const uint64_t first = *argument[0];
    const int operation = static_cast<int>(*argument[1]) & FUTEX_CMD_MASK;
    const bool waits = operation == FUTEX_WAIT || operation == FUTEX_WAIT_BITSET;
    if (waits && TRY(field("futex.uaddr")) == first && TRY(field("futex.val")) == low(*argument[2]))
        return SYS_futex;
    constexpr uint64_t kNoClock = 4096; // a pointer; of the clock 0 the block says 1, as both count alike
    if (first > 0 && first < kNoClock)
        return SYS_clock_nanosleep;
    if (TRY(field("poll.ufds")) == first && low(TRY(field("poll.nfds"))) == low(*argument[1]))
        return SYS_poll;
    return first >= kNoClock ? SYS_nanosleep : SYS_clock_nanosleep;
}

/// Finds out what needs no look into the kernel. Returns whether that is all.
bool is_known(tree::ThreadFacts &thread, const InterruptedWait &wait, const compel::RemoteMemory &memory) {
    if (wait.rest_at)
        thread.time_left_ns = read_time(memory, wait.rest_at, wait.width);
    return thread.time_left_ns || wait.asked_ns < kWorthwhile || !is_plain_clock(thread);
}

bool is_nameless(const tree::ThreadFacts &thread) {
    return thread.original_syscall == compel::restart_number(thread.registers) &&
           thread.registers.rax == cut_off_by(kRestartBlock);
}

Result<void> ask_of(const KernelMemory &memory, Address task, const Unknown &unknown) {
    tree::ThreadFacts &thread = *unknown.thread;
    const Address block = TRY(memory.address_of(task, "task_struct", "restart_block"));
    if (is_nameless(thread))
        thread.original_syscall =
            number_in_mode(TRY(number_of_call(memory, block, thread.registers)), thread.registers);
    const auto wait = interrupted_wait(thread, *unknown.memory);
    if (wait && !is_known(thread, *wait, *unknown.memory))
        thread.time_left_ns = time_until(TRY(end_of(memory, block, wait->kind)), wait->asked_ns);
    return {};
}

Result<void> ask_kernel(FileDumpContext &context, const std::vector<Unknown> &unknowns) {
    const KernelMemory &memory = *TRY(kernel_memory(context));
    const auto threads = TRY(traced_threads(memory));
    for (const Unknown &unknown : unknowns) {
        const int tid = unknown.thread->tid.value;
        auto task = threads.find(tid);
        if (task == threads.end())
            return base::fail(base::ErrorKind::System, fmt::format("thread {} is not found", tid));
        TRY(ask_of(memory, task->second, unknown));
    }
    return {};
}

void look_at(tree::ThreadFacts &thread, const compel::RemoteMemory &memory, std::vector<Unknown> &unknowns) {
    const auto wait = interrupted_wait(thread, memory);
    if (is_nameless(thread) || (wait && !is_known(thread, *wait, memory)))
        unknowns.push_back({&thread, &memory});
}

} // namespace

void find_time_left(FileDumpContext &context, std::vector<tree::TaskFacts> &tasks) {
    std::vector<Unknown> unknowns;
    std::deque<compel::RemoteMemory> memories;
    for (tree::TaskFacts &task : tasks) {
        if (task.zombie)
            continue;
        auto memory = compel::RemoteMemory::open(task.voice);
        if (!memory)
            continue; // the dump of the task itself will say so
        memories.push_back(std::move(*memory));
        for (tree::ThreadFacts &thread : task.threads)
            look_at(thread, memories.back(), unknowns);
    }
    if (unknowns.empty())
        return;
    if (auto asked = ask_kernel(context, unknowns); !asked)
        context.log.warn(fmt::format("dump: {} interrupted system calls will wait their whole time again after a "
                                     "restore, as it cannot be read what they have left: {}",
                                     unknowns.size(), asked.error().message()));
}

} // namespace resource
