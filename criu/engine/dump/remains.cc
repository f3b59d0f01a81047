#include "criu/engine/dump/remains.hh"

#include "compel/blob.hh"
#include "compel/injection.hh"
#include "compel/recovery.hh"
#include "criu/engine/dump/injection_site.hh"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <span>
#include <sys/mman.h>

namespace dump {
namespace {

bool may_be_agent(const parse::Vma &vma) {
    const bool anonymous = vma.shared ? vma.name == "/dev/zero (deleted)" : !vma.inode && vma.name.empty();
    return anonymous && (vma.prot & PROT_EXEC) && (vma.prot & PROT_READ);
}

void set_apart(tree::TaskFacts &task, uint64_t base, const agent::Control &control) {
    tree::AbandonedAgent found{base, control.size, {}};
    for (int64_t fd : {int64_t{control.tool_socket}, int64_t{control.agent_socket}, control.passed_fd})
        if (fd >= 0 && std::erase(task.fds, static_cast<int>(fd)))
            found.fds.push_back(static_cast<int>(fd));
    std::erase_if(task.vmas,
                  [&](const parse::Vma &vma) { return vma.start >= base && vma.end <= base + control.size; });
    task.abandoned.push_back(std::move(found));
}

/// The kernel's struct sigcontext, as far as it holds what a BootFrame holds.
struct SignalContext {
    using Word = uint64_t;
    uint64_t r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, eflags;
    uint16_t cs, gs, fs, ss;
};

/// The same of a handler of 32 bits: the code that it has interrupted is of 64 all the same.
struct SignalContext32 {
    using Word = uint32_t;
    uint32_t gs, fs, es, ds, rdi, rsi, rbp, before_rsp, rbx, rdx, rcx, rax, trap, error, rip, cs, eflags, rsp, ss;
};

void put_into(SignalContext &context, const agent::BootFrame &f) {
    context = {f.r8,  f.r9,  f.r10, f.r11, f.r12, f.r13, f.r14,    f.r15,      f.rdi,      f.rsi,      f.rbp,
               f.rbx, f.rdx, f.rax, f.rcx, f.rsp, f.rip, f.rflags, context.cs, context.gs, context.fs, context.ss};
}

void put_into(SignalContext32 &context, const agent::BootFrame &f) {
    const auto low = [](uint64_t word) { return static_cast<uint32_t>(word); };
    context.rdi = low(f.rdi), context.rsi = low(f.rsi), context.rbp = low(f.rbp), context.rbx = low(f.rbx);
    context.rdx = low(f.rdx), context.rcx = low(f.rcx), context.rax = low(f.rax), context.rip = low(f.rip);
    context.cs = low(f.cs), context.eflags = low(f.rflags), context.ss = low(f.ss);
    context.rsp = context.before_rsp = low(f.rsp);
}

/// How far into its frame the boot code has come at `offset`: it pops one word after the other.
size_t popped_bytes(std::span<const std::byte> boot, size_t offset) {
    constexpr auto byte = [](std::byte b) { return std::to_integer<unsigned>(b); };
    size_t bytes = 0;
    for (size_t at = compel::agent_header().boot_return; at < offset && at + 1 < boot.size();) {
        const unsigned first = byte(boot[at]), second = byte(boot[at + 1]);
        const auto is_pop = [](unsigned code) { return code >= 0x58 && code <= 0x5f; };
        const bool pop = is_pop(first), extended_pop = first == 0x41 && is_pop(second);
        const bool skip_mask = first == 0x48 && second == 0x83; // add rsp, 8
        bytes += pop || extended_pop || skip_mask ? 8 : 0;
        // The others are of a length that does not matter: nothing in them looks like these.
        at += skip_mask ? 4 : extended_pop ? 2 : 1;
    }
    return bytes;
}

/// One task in which the boot code lies at `boot`.
class Handlers {
public:
    Handlers(const tree::TaskFacts &task, const compel::RemoteMemory &memory, uint64_t boot)
        : task_(task), memory_(memory), boot_(boot) {}

    Result<void> straighten(const tree::ThreadFacts &thread) const {
        // Further up no frame of the last handlers lies.
        constexpr uint64_t kFarthest = 256 << 10;
        auto stack = std::ranges::find_if(task_.vmas, [&](const parse::Vma &vma) {
            return vma.start <= thread.registers.rsp && thread.registers.rsp < vma.end;
        });
        if (stack == task_.vmas.end())
            return {};
        const uint64_t from = thread.registers.rsp & ~7ull, size = std::min(stack->end - from, kFarthest);
        return task_.is_32bit ? look<SignalContext32>(from, size) : look<SignalContext>(from, size);
    }

private:
    static size_t boot_size() { return compel::agent_header().boot_size; }

    template <class Context> Result<void> look(uint64_t from, uint64_t size) const {
        using Word = typename Context::Word;
        constexpr size_t kIpWord = offsetof(Context, rip) / sizeof(Word);
        std::vector<Word> words(size / sizeof(Word));
        words.resize(memory_.read_some(from, std::as_writable_bytes(std::span(words))) / sizeof(Word));
        for (size_t i = kIpWord; i + 2 < words.size(); i++)
            if (words[i] - boot_ < boot_size())
                TRY(straighten_at<Context>(from + (i - kIpWord) * sizeof(Word)));
        return {};
    }

    template <class Context> Result<void> straighten_at(uint64_t address) const {
        const base::RemotePtr<Context> place(address);
        auto context = TRY(memory_.read_value(place));
        if (context.cs != compel::kCode64)
            return {};
        const auto boot = compel::agent_blob().subspan(compel::agent_header().boot, compel::agent_header().boot_size);
        const uint64_t frame = context.rsp - popped_bytes(boot, context.rip - boot_);
        auto target = memory_.read_value(base::RemotePtr<agent::BootFrame>(frame));
        if (!target || target->cs != (task_.is_32bit ? compel::kCode32 : compel::kCode64))
            return {};
        put_into(context, *target);
        return memory_.write_value(place, context);
    }

    const tree::TaskFacts &task_;
    const compel::RemoteMemory &memory_;
    uint64_t boot_;
};

} // namespace

Result<void> set_remains_apart(tree::TaskFacts &task) {
    if (task.zombie || std::ranges::none_of(task.vmas, may_be_agent))
        return {};
    const auto memory = TRY(compel::RemoteMemory::open(task.voice));
    for (const parse::Vma &vma : std::vector(task.vmas)) {
        if (!may_be_agent(vma) || !compel::is_agent(memory, vma.start))
            continue;
        const base::RemotePtr<agent::Control> control(compel::Injection::control_at(vma.start));
        if (auto found = memory.read_value(control))
            set_apart(task, vma.start, *found);
    }
    return {};
}

Result<void> straighten_handlers(const std::vector<tree::TaskFacts> &tasks) {
    for (const tree::TaskFacts &task : tasks) {
        if (task.zombie)
            continue;
        const auto memory = TRY(compel::RemoteMemory::open(task.voice));
        const auto boot = left_boot_code(task.vmas, memory);
        if (!boot)
            continue;
        for (const tree::ThreadFacts &thread : task.threads)
            TRY_CTX(Handlers(task, memory, *boot).straighten(thread), fmt::format("thread {}", thread.tid.value));
    }
    return {};
}

} // namespace dump
