#include "compel/recovery.hh"

#include "compel/blob.hh"

#include <algorithm>
#include <array>
#include <chrono>
#include <fmt/format.h>
#include <string_view>
#include <sys/syscall.h>
#include <unistd.h>

namespace compel {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int kLongestPauseUs = 20'000;

/// Lets them all run for a while, and stops them again.
Result<void> run_for(std::span<const RecoveringThread> threads, int pause_us) {
    constexpr int kSliceUs = 500, kStopMs = 10'000;
    for (const RecoveringThread &each : threads)
        (void)each.thread.resume(); // one that died is noticed by the wait
    for (int slept = 0; slept < pause_us; slept += kSliceUs) {
        usleep(static_cast<useconds_t>(std::min(kSliceUs, pause_us)));
        // A stop before the delivery of a signal, which is waited for by a thread whose mask is its own again.
        for (const RecoveringThread &each : threads)
            (void)resume_if_stopped(each.thread);
    }
    for (const RecoveringThread &each : threads)
        (void)interrupt(each.thread.tid());
    for (const RecoveringThread &each : threads)
        if (auto stop = wait_interrupted(each.thread.tid(), kStopMs);
            !stop && stop.error().kind() != base::ErrorKind::Died)
            return base::fail(std::move(stop).error());
    return {};
}

bool still_inside(const RecoveringThread &each) {
    auto registers = each.thread.registers();
    return registers && each.spotter->inside(*registers);
}

} // namespace

Result<AgentSpotter> AgentSpotter::open(Pid pid) {
    return AgentSpotter(TRY(RemoteMemory::open(pid)));
}

bool is_agent(const RemoteMemory &memory, uint64_t address) {
    std::array<std::byte, sizeof(agent::BlobHeader)> head{};
    return memory.read_some(address, head) == head.size() && std::ranges::equal(head, agent_blob().first(head.size()));
}

bool AgentSpotter::in_agent(uint64_t rip) const {
    const uint64_t page = base::page_down(rip);
    for (uint64_t back = 0; back < agent_blob().size() && back <= page; back += base::kPageSize)
        if (is_agent(memory_, page - back))
            return true;
    return false;
}

bool AgentSpotter::in_boot_code(uint64_t rip) const {
    const auto boot = agent_blob().subspan(agent_header().boot, agent_header().boot_size);
    std::string around(2 * boot.size(), '\0');
    const uint64_t from = rip - std::min<uint64_t>(rip, boot.size() - 1);
    around.resize(memory_.read_some(from, std::as_writable_bytes(std::span(around))));
    const std::string_view wanted(reinterpret_cast<const char *>(boot.data()), boot.size());
    const size_t at = around.find(wanted);
    return at != std::string::npos && from + at <= rip;
}

// The boot code has just returned to the system call that was cut off. Only the kernel's restart block knows which one
// it was, and only inside of the call that shows: the number alone is in no image.
bool AgentSpotter::about_to_restart(const Registers &registers) const {
    if (registers.rax != restart_number(registers) || static_cast<int64_t>(registers.orig_rax) >= 0)
        return false;
    constexpr std::array kSyscall{std::byte{0x0f}, std::byte{0x05}}, kInt80{std::byte{0xcd}, std::byte{0x80}};
    std::array<std::byte, 2> code{};
    return memory_.read_some(registers.rip, code) == code.size() && code == (is_32bit(registers) ? kInt80 : kSyscall);
}

bool AgentSpotter::inside(const Registers &registers) {
    if (about_to_restart(registers))
        return true;
    if (outside_.contains(registers.rip))
        return false;
    if (in_agent(registers.rip) || in_boot_code(registers.rip))
        return true;
    outside_.insert(registers.rip);
    return false;
}

Result<void> finish_recovery(std::vector<RecoveringThread> threads, int timeout_ms) {
    const auto began = Clock::now();
    for (int pause_us = 200; !threads.empty(); pause_us = std::min(2 * pause_us, kLongestPauseUs)) {
        if (timeout_ms >= 0 && Clock::now() - began > std::chrono::milliseconds(timeout_ms))
            return base::fail(
                std::move(base::Error::sys(ETIMEDOUT, fmt::format("thread {} has not recovered from a dump that was "
                                                                  "killed",
                                                                  threads.front().thread.tid().value))
                              .hint("it does by itself as soon as it gets to run: try again later")));
        TRY(run_for(threads, pause_us));
        std::erase_if(threads, [](const RecoveringThread &each) { return !still_inside(each); });
    }
    return {};
}

} // namespace compel
