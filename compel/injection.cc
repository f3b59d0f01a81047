#include "compel/injection.hh"

#include "compel/blob.hh"
#include "compel/patience.hh"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/poll.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>

namespace compel {
namespace {

constexpr size_t kStack = 8192;
constexpr size_t kThreadStack = 1024;
constexpr size_t kSlotSize = 64; // an agent::ThreadSlot, with some distance to the batch
static_assert(sizeof(agent::ThreadSlot) <= kSlotSize);
constexpr size_t kThreadRoom = kThreadStack + kSlotSize + Injection::kThreadScratch;
constexpr uint64_t kAllSignals = ~0ull;
// Below the thread's stack pointer the ABI reserves 128 bytes (the red zone).
constexpr uint64_t kRedZone = 128;
// No single-stepping, strings run upwards.
constexpr unsigned long long kTrapAndDirection = 0x500;

size_t slots_size(size_t threads) {
    return base::page_up(threads * kThreadRoom);
}

/// Where the registers wait for the boot code to take them back: on the thread's own stack.
uint64_t frame_address(const Registers &regs) {
    return (regs.rsp - kRedZone - sizeof(agent::BootFrame)) & ~15ull;
}

/// The registers with which the thread goes on by itself: an interrupted system call is issued again, as the kernel
/// would on the way back to user mode.
void resolve_restart(Registers &regs) {
    constexpr int64_t kRestartSys = -512, kRestartNoIntr = -513, kRestartNoHand = -514, kRestartBlock = -516;
    constexpr int kSyscallInstruction = 2;
    if (static_cast<int64_t>(regs.orig_rax) < 0)
        return;
    switch (static_cast<int64_t>(regs.rax)) {
    case kRestartSys:
    case kRestartNoIntr:
    case kRestartNoHand:
        regs.rax = regs.orig_rax;
        regs.rip -= kSyscallInstruction;
        break;
    case kRestartBlock:
        regs.rax = restart_number(regs);
        regs.rip -= kSyscallInstruction;
        break;
    }
}

} // namespace

size_t Injection::site_size(size_t threads) {
    return agent_code_size() + kStack + base::kPageSize + slots_size(threads) + kScratch;
}

uint64_t Injection::control_at(uint64_t base) {
    return base + agent_code_size() + kStack;
}

Injection::Injection(StoppedThread leader, const Registers &registers, const RemoteMemory &memory, InjectionSite site,
                     size_t threads)
    : leader_(leader), saved_(registers), memory_(&memory), site_(site), size_(site_size(threads)) {
    code_ = site.agent_base;
    control_ = control_at(code_);
    slots_ = control_ + base::kPageSize;
    scratch_ = slots_ + slots_size(threads);
    frame_ = frame_address(registers);
    limit_ = frame_ - 2 * sizeof(rlimit);
}

agent::BootFrame Injection::frame_of(const Registers &regs, uint64_t mask) const {
    Registers r = regs;
    resolve_restart(r);
    return agent::BootFrame{mask,  r.r15, r.r14, r.r13, r.r12, r.rbp, r.rbx, r.r11,    r.r10, r.r9, r.r8,
                            r.rax, r.rcx, r.rdx, r.rsi, r.rdi, r.rip, r.cs,  r.eflags, r.rsp, r.ss};
}

Result<Injection> Injection::enter(StoppedThread leader, const Registers &registers, const RemoteMemory &memory,
                                   InjectionSite site, size_t threads) {
    Injection in(leader, registers, memory, site, threads);
    auto blob = agent_blob();
    auto head = agent_header();
    in.sigmask_ = TRY(leader.signal_mask());
    // Dead data until the registers point to it.
    TRY_CTX(memory.write_value(base::RemotePtr<agent::BootFrame>(in.frame_), in.frame_of(registers, in.sigmask_)),
            "write below the stack");
    TRY_CTX(memory.write(site.boot_code, blob.subspan(head.boot, head.boot_size)), "write behind the vdso");
    TRY(in.map_agent());
    TRY(in.start());
    TRY(in.connect());
    return in;
}

// As the function of that name, but at every moment it is known whether the thread runs.
Result<void> Injection::run_to_syscall() {
    for (std::optional<int> signal = 0; signal;) {
        TRY(leader_.resume_to_syscall(*signal));
        running_ = true;
        signal = TRY(wait_for_syscall(leader_.tid(), kTimeoutMs));
        running_ = false;
    }
    return {};
}

// From the first call on, the path of the thread leads through the boot code: r12 and r13 tell it what to unmap.
Result<int64_t> Injection::remote_syscall(long nr, std::initializer_list<uint64_t> args) {
    uint64_t a[6] = {};
    std::copy(args.begin(), args.end(), a);
    Registers regs = saved_;
    regs.rip = site_.boot_code;
    regs.cs = kCode64;
    regs.rsp = frame_;
    regs.orig_rax = ~0ull;
    regs.rax = static_cast<uint64_t>(nr);
    regs.rdi = a[0], regs.rsi = a[1], regs.rdx = a[2], regs.r10 = a[3], regs.r8 = a[4], regs.r9 = a[5];
    regs.r12 = mapped_ ? site_.agent_base : 0;
    regs.r13 = mapped_ ? size_ : 0;
    if (nr == SYS_mmap) {
        regs.r12 = site_.agent_base;
        regs.r13 = size_;
    }
    regs.r14 = raised_ ? 1 + *raised_ : 0;
    regs.r15 = limit_;
    TRY(leader_.set_registers(regs));
    if (!inside_) {
        inside_ = true;
        // Only now: a thread that is let go between the two lines gets its signals on the way through the boot code;
        // the other way round it would keep the full mask for ever.
        TRY(leader_.set_signal_mask(kAllSignals));
    }
    TRY(run_to_syscall());
    // Not to the exit: an interrupt stop, unlike a syscall stop, lies before the kernel's restart logic, so that the
    // registers set here later may ask for a restart.
    TRY(interrupt(leader_.tid()));
    TRY(leader_.resume());
    running_ = true;
    TRY(wait_interrupted(leader_.tid(), kTimeoutMs));
    running_ = false;
    return static_cast<int64_t>(TRY(leader_.registers()).rax);
}

Result<void> Injection::start() {
    agent::Control control{};
    control.tool_socket = control.agent_socket = control.passed_fd = -1;
    control.inside = 1;
    control.leave = site_.boot_code + agent_header().boot_leave;
    control.size = size_;
    TRY(memory_->write_value(base::RemotePtr<agent::Control>(control_), control));
    started_ = true;
    Registers regs = saved_;
    regs.rip = code_ + agent_header().serve;
    regs.cs = kCode64;
    regs.rdi = control_;
    regs.rsp = frame_;
    set_way_out(regs);
    regs.eflags &= ~kTrapAndDirection;
    return leader_.set_registers(regs);
}

// Entry and exit of each call, until the socket is there: in between nothing else may be asked of the agent. With no
// free descriptor it raises its limit, as far as it may, and tries once more.
Result<void> Injection::await_socket() {
    constexpr int kMostCalls = 4;
    int64_t outcome = -EMFILE;
    for (int calls = 0, tries = 0; calls < kMostCalls && tries < 2; calls++) {
        // One step, both stops: in between the thread has no way out, and nothing but its death can come.
        for (int stop = 0; stop < 2; stop++)
            TRY(run_to_syscall());
        const Registers regs = TRY(leader_.registers());
        if (regs.orig_rax != SYS_socketpair)
            continue;
        outcome = static_cast<int64_t>(regs.rax);
        if (outcome != -EMFILE)
            break;
        tries++;
    }
    if (outcome >= 0)
        return {};
    auto error = base::Error::sys(static_cast<int>(-outcome), "make a control socket in the task");
    if (outcome == -EMFILE)
        error.hint("the task has no free descriptor: raise its RLIMIT_NOFILE by two (prlimit --nofile)");
    return base::fail(std::move(error));
}

// The agent's first call makes the control socket. Both ends are made by the task: nothing of ours has to be reachable
// from its namespaces.
Result<void> Injection::connect() {
    TRY(await_socket());
    auto pair = TRY(memory_->read_value(base::RemotePtr<std::array<int32_t, 2>>(control_)));
    const base::UniqueFd pidfd = TRY(open_pidfd(leader_.tid()));
    socket_.reset(static_cast<int>(syscall(SYS_pidfd_getfd, pidfd.get(), pair[0], 0)));
    if (!socket_)
        return base::fail_sys("pidfd_getfd of the control socket");
    TRY(leader_.resume());
    running_ = true;
    return {};
}

Batch Injection::thread_batch(size_t index) const {
    uint64_t slot = slots_ + index * kThreadRoom + kThreadStack;
    return Batch(slot + kSlotSize, kThreadScratch);
}

// What the boot code needs to know of a thread that is inside.
void Injection::set_way_out(Registers &regs) const {
    regs.orig_rax = ~0ull;
    regs.rbx = control_ + offsetof(agent::Control, inside);
    regs.r12 = site_.agent_base;
    regs.r13 = size_;
}

// A thread that goes on from these registers returns by its frame and touches nothing of ours but the boot code.
Registers Injection::way_back(const Registers &registers) const {
    Registers regs = registers;
    regs.rip = site_.boot_code + agent_header().boot_return;
    regs.cs = kCode64;
    regs.rsp = frame_address(registers);
    regs.orig_rax = ~0ull;
    regs.eflags &= ~kTrapAndDirection;
    return regs;
}

Result<void> Injection::write_inside() {
    return memory_->write_value(base::RemotePtr<uint32_t>(control_ + offsetof(agent::Control, inside)),
                                1 + threads_inside_);
}

// Points the thread at its batch. First to the way back: should we die in between, its mask is restored, and a signal
// that comes before its mask is closed finds it where nothing of the agent is needed any more.
Result<void> Injection::aim(ThreadRun &run) {
    const uint64_t frame = frame_address(run.registers);
    TRY_CTX(memory_->write_value(base::RemotePtr<agent::BootFrame>(frame), frame_of(run.registers, run.mask)),
            "write below the stack");
    const uint64_t slot = run.batch.base_ - kSlotSize;
    agent::ThreadSlot head{control_, 0, {run.batch.ops_address(), static_cast<uint32_t>(run.batch.calls()), 0}};
    std::vector<std::byte> image(kSlotSize);
    std::memcpy(image.data(), &head, sizeof head);
    auto batch = run.batch.image();
    image.insert(image.end(), batch.begin(), batch.end());
    TRY(memory_->write(slot, image));
    run.state = ThreadRun::State::Aimed;
    threads_away_++;
    TRY(run.thread.set_registers(way_back(run.registers)));
    TRY(run.thread.set_signal_mask(kAllSignals));
    Registers regs = run.registers;
    regs.rip = code_ + agent_header().thread;
    regs.cs = kCode64;
    regs.rdi = slot;
    regs.rsp = frame;
    regs.eflags &= ~kTrapAndDirection;
    set_way_out(regs);
    // Counted first: one too many, should we die in between, leaves the agent's memory behind, one too few takes it
    // away under a thread's feet.
    threads_inside_++;
    TRY(write_inside());
    run.state = ThreadRun::State::Inside;
    return run.thread.set_registers(regs);
}

Result<void> Injection::retrieve(ThreadRun &run) {
    if (run.state == ThreadRun::State::Running)
        TRY(wait_interrupted(run.thread.tid(), kTimeoutMs));
    const bool inside = run.state == ThreadRun::State::Running || run.state == ThreadRun::State::Inside;
    if (run.state == ThreadRun::State::Stopped)
        return {};
    // On its own stack before its mask is back: a signal may come then, should we die here, and the agent's stack is
    // too small for a handler.
    TRY(run.thread.set_registers(way_back(run.registers)));
    if (inside) {
        threads_inside_--;
        // No step of the walk through all faults: registers and count cannot change at once, and whoever dies in
        // between leaves the agent's memory behind, which the next dump takes away (criu/engine/dump/remains.cc).
        if (auto counted = write_inside(); !counted)
            return counted;
    }
    run.state = ThreadRun::State::Aimed;
    TRY(run.thread.set_signal_mask(run.mask));
    TRY(run.thread.set_registers(run.registers));
    run.state = ThreadRun::State::Stopped;
    threads_away_--;
    return {};
}

Result<void> Injection::execute(std::span<ThreadRun> runs) {
    for (ThreadRun &run : runs)
        TRY_CTX(aim(run), fmt::format("thread {}", run.thread.tid().value));
    for (ThreadRun &run : runs) {
        TRY(run.thread.resume());
        run.state = ThreadRun::State::Running;
    }
    TRY(send(agent::Command::WaitThreads, -1));
    TRY(read_reply(runs));
    return {};
}

Result<void> Injection::run_threads(std::span<ThreadRun> runs) {
    if (runs.empty())
        return {};
    std::array<uint32_t, 2> counters{static_cast<uint32_t>(runs.size()), 0}; // pending, release
    base::RemotePtr<decltype(counters)> at(control_ + offsetof(agent::Control, pending));
    TRY(memory_->write_value(at, counters));
    Result<void> outcome = execute(runs);
    for (ThreadRun &run : runs)
        if (run.state == ThreadRun::State::Running)
            (void)interrupt(run.thread.tid()); // one that died is noticed by retrieve()
    for (ThreadRun &run : runs)
        if (auto r = retrieve(run); !r && outcome)
            outcome = std::move(r);
    TRY(std::move(outcome));
    for (ThreadRun &run : runs) {
        auto image = run.batch.image();
        TRY(memory_->read(run.batch.base_, image));
        run.batch.read_back(image);
    }
    return memory_->write_value(at, decltype(counters){0, 0});
}

// Descriptors that the agent has in the task now, in whatever moment it was stopped.
Result<void> Injection::close_descriptors() {
    auto control = memory_->read_value(base::RemotePtr<agent::Control>(control_));
    if (!control || !started_)
        return {};
    for (int32_t fd : {control->agent_socket, static_cast<int32_t>(control->passed_fd), control->tool_socket})
        if (fd >= 0)
            TRY(remote_syscall(SYS_close, {static_cast<uint64_t>(fd)}));
    started_ = false;
    return {};
}

Result<void> Injection::leave() {
    // A thread that could not be taken out would lose the ground under its feet. With the socket closed the agent lets
    // all threads go and leaves by itself, as soon as nobody traces them any more.
    if (threads_inside_) {
        socket_.reset();
        inside_ = false;
        return base::fail(base::ErrorKind::Died, "a thread did not come back from the agent");
    }
    // In the middle of it a descriptor may have come that nobody would know of.
    if (std::exchange(replies_, false))
        (void)read_reply();
    if (running_) {
        TRY(interrupt(leader_.tid()));
        TRY(wait_interrupted(leader_.tid(), kTimeoutMs));
        running_ = false;
    }
    if (mapped_) {
        TRY(close_descriptors());
        TRY(remote_syscall(SYS_munmap, {site_.agent_base, size_}));
        mapped_ = false;
    }
    if (inside_) {
        TRY(leader_.set_registers(way_back(saved_)));
        TRY(leader_.set_signal_mask(sigmask_));
        TRY(leader_.set_registers(saved_));
        inside_ = false;
    }
    if (threads_away_) // a thread that got no further still returns by the boot code
        return base::fail(base::ErrorKind::Died, "a thread did not get its own registers back");
    std::vector<std::byte> zero(agent_header().boot_size);
    return memory_->write(site_.boot_code, zero);
}

Injection::Injection(Injection &&other) noexcept
    : leader_(other.leader_), saved_(other.saved_), memory_(other.memory_), site_(other.site_), size_(other.size_),
      code_(other.code_), control_(other.control_), slots_(other.slots_), scratch_(other.scratch_),
      frame_(other.frame_), limit_(other.limit_), raised_(other.raised_), sigmask_(other.sigmask_),
      threads_inside_(other.threads_inside_), threads_away_(other.threads_away_), socket_(std::move(other.socket_)),
      replies_(std::exchange(other.replies_, false)), inside_(std::exchange(other.inside_, false)),
      mapped_(other.mapped_), running_(other.running_), started_(other.started_) {}

// On an error path. If even this fails the agent leaves by itself as soon as the thread runs: its socket closes.
Injection::~Injection() {
    if (inside_)
        (void)leave();
}

} // namespace compel
