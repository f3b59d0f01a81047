// A stop ends epoll_wait with EINTR, and nothing in the kernel remembers when it would have ended. Until then its timer
// (struct hrtimer_sleeper) lies on the thread's kernel stack, and points to the thread: so threads are looked at before
// they are interrupted. That one has not been awake between the look and the stop, and begun another wait, is told by
// its count of context switches, which has grown by the stop's own then.
//
// The restored thread makes the call with the time left in the register of the limit. Code that counts on the kernel
// keeping that register would go on with it: so it is done only where the call is made by the C library, whose callers
// take a function's word that such registers are lost. Others wait their whole time again.
#include "criu/resource/task/timed_polls.hh"

#include "criu/kernel/io.hh"
#include "criu/resource/task/restart_errors.hh"
#include "criu/resource/task/time_units.hh"
#include "criu/resource/task/traced_threads.hh"

#include <algorithm>
#include <cstdio>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/syscall.h>
#include <utility>

namespace resource {
namespace {

constexpr int kWorthwhileMs = 1000;
constexpr size_t kMostThreads = 200; // a look takes 8 us, which in a tree of thousands a dump is not to wait for

bool is_poll(uint64_t number) {
    return number == SYS_epoll_wait || number == SYS_epoll_pwait;
}

/// Of 32-bit threads none is: their numbers mean other calls.
bool is_in_poll(const compel::Registers &registers) {
    return !compel::is_32bit(registers) && is_poll(registers.orig_rax);
}

int64_t monotonic_ns() {
    return now_ns(CLOCK_MONOTONIC).value_or(0); // it is always there
}

/// The limit of the call in which a thread sleeps; 0 where it is none of these, or short.
uint64_t limit_of(base::Pid thread) {
    auto text = kernel::read_file(AT_FDCWD, fmt::format("/proc/{}/syscall", thread.value).c_str());
    long number = 0;
    unsigned long limit = 0;
    if (!text || sscanf(text->c_str(), "%ld %*x %*x %*x %lx", &number, &limit) != 2)
        return 0;
    const auto ms = static_cast<int32_t>(limit);
    return is_poll(static_cast<uint64_t>(number)) && ms >= kWorthwhileMs ? static_cast<uint64_t>(ms) : 0;
}

/// When the timer on a thread's kernel stack ends; nothing where there is not exactly one that fits the limit.
Result<std::optional<int64_t>> end_on_stack(const KernelMemory &memory, TaskAddress task, uint64_t limit_ms) {
    constexpr size_t kWords = 2048; // THREAD_SIZE
    const size_t owner = TRY(memory.address_of(0, "hrtimer_sleeper", "task")) / sizeof(uint64_t);
    const size_t end = TRY(memory.address_of(0, "hrtimer_sleeper", "timer._softexpires")) / sizeof(uint64_t);
    std::vector<uint64_t> stack(kWords);
    TRY(memory.read(TRY(memory.member(task, "task_struct", "stack")), std::as_writable_bytes(std::span(stack))));
    const int64_t now = monotonic_ns(), latest = now + static_cast<int64_t>(limit_ms) * kMillisecondNs;
    std::vector<int64_t> ends;
    for (size_t at = owner; at < stack.size(); at++) {
        const auto ends_at = static_cast<int64_t>(stack[at - owner + end]);
        if (stack[at] == task && ends_at > now && ends_at <= latest)
            ends.push_back(ends_at);
    }
    return ends.size() == 1 ? std::optional(ends.front()) : std::nullopt;
}

bool is_c_library(std::string_view path) {
    const std::string_view name = path.substr(path.rfind('/') + 1);
    return name.starts_with("libc.so") || name.starts_with("libc-2") || name.starts_with("ld-musl");
}

bool is_called_by_library(const tree::TaskFacts &task, const tree::ThreadFacts &thread) {
    const uint64_t at = thread.registers.rip;
    return std::ranges::any_of(
        task.vmas, [&](const parse::Vma &vma) { return at >= vma.start && at < vma.end && is_c_library(vma.name); });
}

} // namespace

Result<void> TimedPolls::read(const std::map<int, uint64_t> &waiting) {
    if (!memory_)
        memory_ = TRY(KernelMemory::open());
    const auto threads = TRY(traced_threads(*memory_));
    for (auto [tid, limit_ms] : waiting) {
        auto found = threads.find(tid);
        if (found == threads.end())
            continue;
        Sleep sleep{found->second, TRY(memory_->member(found->second, "task_struct", "nvcsw")), 0};
        if (const auto end = TRY(end_on_stack(*memory_, sleep.task, limit_ms))) {
            sleep.end_ns = *end;
            sleeps_[tid] = sleep;
        }
    }
    return {};
}

// Where the kernel cannot be read the calls wait their whole time again, as the documentation says of all their kind.
void TimedPolls::look(std::span<const base::Pid> threads) {
    std::map<int, uint64_t> waiting;
    for (base::Pid thread : threads.first(std::min(threads.size(), kMostThreads))) {
        sleeps_.erase(thread.value);
        if (const uint64_t limit = limit_of(thread))
            waiting[thread.value] = limit;
    }
    if (!waiting.empty())
        (void)read(waiting);
}

std::optional<uint64_t> TimedPolls::left_of(const tree::ThreadFacts &thread) const {
    const compel::Registers &r = thread.registers;
    const auto sleep = sleeps_.find(thread.tid.value);
    if (sleep == sleeps_.end() || !is_in_poll(r) || r.rax != cut_off_by(kRestartNoIntr))
        return std::nullopt;
    auto switches = memory_->member(sleep->second.task, "task_struct", "nvcsw");
    if (!switches || *switches != sleep->second.switches + 1)
        return std::nullopt;
    return static_cast<uint64_t>(std::max<int64_t>(sleep->second.end_ns - monotonic_ns(), 0));
}

void TimedPolls::hand_over_memory(FileDumpContext &context) {
    if (memory_)
        give_kernel_memory(context, *std::exchange(memory_, std::nullopt));
    sleeps_.clear();
}

void TimedPolls::settle(std::vector<tree::TaskFacts> &tasks) const {
    for (tree::TaskFacts &task : tasks)
        for (tree::ThreadFacts &thread : task.threads)
            if (const auto left = left_of(thread); left && is_called_by_library(task, thread))
                thread.time_left_ns = left;
}

Result<void> TimedPolls::limit(const std::vector<tree::TaskFacts> &tasks) const {
    for (const tree::TaskFacts &task : tasks)
        for (const tree::ThreadFacts &thread : task.threads)
            if (thread.time_left_ns && is_in_poll(thread.registers)) {
                compel::Registers regs = thread.registers;
                regs.r10 = to_poll_limit(*thread.time_left_ns);
                TRY(compel::StoppedThread(thread.tid).set_registers(regs));
            }
    return {};
}

void limit_poll(compel::Registers &r, const img::ext_thread_core &ext) {
    if (!ext.has_syscall_left_ns() || ext.syscall_restart() != kRestartNoIntr || !is_in_poll(r))
        return;
    r.r10 = to_poll_limit(ext.syscall_left_ns());
}

} // namespace resource
