#include "criu/engine/dump/thread_facts.hh"

#include <array>
#include <cstring>
#include <linux/seccomp.h>
#include <span>
#include <sys/ptrace.h>
#include <sys/syscall.h>

namespace dump {
namespace {

using base::Pid;

std::optional<tree::RseqConfiguration> rseq_of(Pid tid) {
    constexpr auto kGetRseqConfiguration = static_cast<__ptrace_request>(0x420f); // Linux 5.13
    tree::RseqConfiguration rseq;
    long n = ptrace(kGetRseqConfiguration, tid.value, reinterpret_cast<void *>(sizeof rseq), &rseq);
    if (n < 0)
        return std::nullopt;
    return rseq;
}

// A sleep that was interrupted before (by an earlier dump, by SIGSTOP) goes on as restart_syscall: the registers do not
// tell which call it was, only the kernel's restart block knows. But the program's own instruction is still the one
// before: compilers and libcs load the number with `mov $N, %eax` shortly before `syscall`.
uint64_t original_syscall(const compel::Registers &registers, const compel::RemoteMemory &memory) {
    if (registers.orig_rax != SYS_restart_syscall || compel::is_32bit(registers))
        return registers.orig_rax;
    constexpr size_t kWindow = 64, kSyscallInstruction = 2, kMovSize = 5;
    constexpr uint8_t kMovEax = 0xb8;
    std::array<uint8_t, kWindow> code{};
    const uint64_t start = registers.rip - kSyscallInstruction - kWindow;
    if (!memory.read(start, std::as_writable_bytes(std::span(code))))
        return registers.orig_rax;
    for (size_t at = kWindow - kMovSize + 1; at-- > 0;) {
        uint32_t number = 0;
        std::memcpy(&number, &code[at + 1], sizeof number);
        const bool restartable =
            number == SYS_nanosleep || number == SYS_clock_nanosleep || number == SYS_poll || number == SYS_futex;
        if (code[at] == kMovEax && restartable)
            return number;
    }
    return registers.orig_rax;
}

// 32-bit programs have the address of their thread's memory in such a segment, and so have some of 64 bits that run
// code of 32.
std::vector<user_desc> thread_areas_of(const compel::StoppedThread &thread, const compel::Registers &registers) {
    constexpr auto kGetThreadArea = static_cast<__ptrace_request>(25);
    constexpr uint64_t kFirst = 12, kLast = 14;
    auto is_one = [&](uint64_t selector) { return selector >> 3 >= kFirst && selector >> 3 <= kLast; };
    std::vector<user_desc> areas;
    if (!compel::is_32bit(registers) && !is_one(registers.fs) && !is_one(registers.gs))
        return areas;
    for (uint64_t index = kFirst; index <= kLast; index++)
        if (user_desc area{}; ptrace(kGetThreadArea, thread.tid().value, index, &area) == 0)
            areas.push_back(area);
    return areas;
}

/// struct rseq_cs of the kernel's restartable sequences.
struct CriticalSection {
    uint32_t version, flags;
    uint64_t start, length, abort;
};

// A thread that was stopped inside of a restartable sequence must go on at its abort handler, as after any preemption.
// The kernel sees to that when the thread runs on from there, but not when it has been in the agent in between.
Result<void> abort_critical_section(tree::ThreadFacts &facts, const compel::RemoteMemory &memory) {
    if (!facts.rseq_cs)
        return {};
    auto section = memory.read_value(base::RemotePtr<CriticalSection>(facts.rseq_cs));
    if (!section || facts.registers.rip - section->start >= section->length)
        return {};
    facts.registers.rip = section->abort;
    facts.rseq_cs = 0;
    return compel::StoppedThread(facts.tid).set_registers(facts.registers);
}

} // namespace

Result<tree::ThreadFacts> what_ptrace_tells(const compel::FrozenThread &frozen, const compel::RemoteMemory &memory) {
    compel::StoppedThread thread(frozen.tid);
    tree::ThreadFacts facts;
    facts.tid = frozen.tid;
    facts.registers = frozen.registers;
    facts.original_syscall = original_syscall(frozen.registers, memory);
    facts.thread_areas = thread_areas_of(thread, facts.registers);
    facts.xstate = TRY(thread.xstate());
    facts.signal_mask = TRY(thread.signal_mask());
    facts.pending = TRY(thread.pending_signals(false));
    facts.dispatch = frozen.dispatch;
    facts.rseq = rseq_of(frozen.tid);
    if (facts.rseq && facts.rseq->pointer) {
        constexpr uint64_t kCsField = 8;
        if (auto cs = memory.read_value(base::RemotePtr<uint64_t>(facts.rseq->pointer + kCsField)))
            facts.rseq_cs = *cs;
    }
    TRY(abort_critical_section(facts, memory));
    return facts;
}

} // namespace dump
