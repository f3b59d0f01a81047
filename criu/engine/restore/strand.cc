#include "criu/engine/restore/strand.hh"

#include "criu/engine/restore/rendezvous.hh"

#include <ctime>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <utility>

namespace restore {
namespace {

constexpr uint32_t kDriver = 0, kStrand = 1, kInAgent = 2; // whose turn it is

// Without libc: the other side may be between a system call of its own and a look at errno, which is the same word.
long futex(uint32_t &word, long operation, uint32_t value, const timespec *limit) {
    long result = 0;
    register const timespec *limit_register asm("r10") = limit;
    asm volatile("syscall"
                 : "=a"(result)
                 : "a"(SYS_futex), "D"(&word), "S"(operation), "d"(value), "r"(limit_register)
                 : "rcx", "r11", "memory");
    return result;
}

uint32_t load(const uint32_t &word) {
    return __atomic_load_n(&word, __ATOMIC_ACQUIRE);
}
void store(uint32_t &word, uint32_t value) {
    __atomic_store_n(&word, value, __ATOMIC_RELEASE);
}

} // namespace

void jump(const AgentStart &start) {
    asm volatile("mov %2, %%rsp\n\t"
                 "jmp *%0"
                 :
                 : "r"(start.entry), "D"(start.start), "r"(start.stack)
                 : "memory");
    __builtin_unreachable();
}

void Strand::run(Strand *self) {
    const AgentStart next = self->body_(*self);
    self->gate_ = next.gate;
    // Behind the store the driver may run, and with it whatever uses the thread pointer.
    asm volatile("mov %[stack], %%rsp\n\t"
                 "movl %[in_agent], (%[turn])\n\t"
                 "mov %[wake], %%eax\n\t" // futex(turn, FUTEX_WAKE, 1)
                 "mov %[start], %%rbx\n\t"
                 "mov %[turn], %%rdi\n\t"
                 "mov $1, %%esi\n\t"
                 "mov $1, %%edx\n\t"
                 "syscall\n\t"
                 "mov %%rbx, %%rdi\n\t"
                 "jmp *%[entry]"
                 :
                 : [stack] "r"(next.stack), [turn] "r"(&self->turn_), [wake] "i"(SYS_futex), [in_agent] "i"(kInAgent),
                   [start] "r"(next.start), [entry] "r"(next.entry)
                 : "memory", "rax", "rbx", "rcx", "rdi", "rsi", "rdx", "r11");
    __builtin_unreachable();
}

long Strand::clone(clone_args &args, Strand *self) {
    long result = 0;
    register Strand *self_register asm("r12") = self;
    register void (*entry_register)(Strand *) asm("r13") = run;
    asm volatile("syscall\n\t"
                 "test %%rax, %%rax\n\t"
                 "jnz 1f\n\t"
                 "xor %%ebp, %%ebp\n\t"
                 "mov %%r12, %%rdi\n\t"
                 "call *%%r13\n\t"
                 "ud2\n"
                 "1:"
                 : "=a"(result)
                 : "a"(SYS_clone3), "D"(&args), "S"(sizeof args), "r"(self_register), "r"(entry_register)
                 : "rcx", "r11", "memory");
    return result;
}

Result<Strand *> Strand::start(clone_args args, Body body, const Rendezvous &meet,
                               std::vector<std::unique_ptr<Strand>> &kept) {
    constexpr size_t kStack = 8u << 20; // children live on it until they jump into the agent
    void *stack = mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stack == MAP_FAILED)
        return base::fail_sys("map a stack");
    args.stack = reinterpret_cast<uint64_t>(stack);
    args.stack_size = kStack;
    std::unique_ptr<Strand> strand(new Strand(std::move(body)));
    Strand *self = strand.get();
    self->turn_ = kStrand;
    kept.push_back(std::move(strand));
    if (const long made = clone(args, self); made < 0)
        return base::fail_sys(static_cast<int>(-made), "clone3");
    TRY(self->wait(meet));
    return self;
}

Result<void> Strand::wait(const Rendezvous &meet) {
    const timespec now_and_then{0, 200'000'000};
    while (load(turn_) == kStrand) {
        futex(turn_, FUTEX_WAIT, kStrand, &now_and_then);
        if (meet.given_up())
            return base::fail(base::ErrorKind::Died, "the restore was given up");
    }
    if (load(turn_) == kInAgent)
        wait_until_inside();
    return std::exchange(outcome_, {});
}

// Its last instructions are those of our program, which the driver may be about to unmap. What happens at the gate
// comes from the agent.
void Strand::wait_until_inside() const {
    auto *gate = reinterpret_cast<agent::Rendezvous *>(gate_);
    const timespec soon{0, 1'000'000};
    while (load(gate->arrived) == 0)
        futex(gate->arrived, FUTEX_WAIT, 0, &soon);
}

Result<void> Strand::resume(const Rendezvous &meet) {
    if (load(turn_) == kInAgent)
        return {};
    store(turn_, kStrand);
    futex(turn_, FUTEX_WAKE, 1, nullptr);
    return wait(meet);
}

void Strand::yield() {
    store(turn_, kDriver);
    futex(turn_, FUTEX_WAKE, 1, nullptr);
    while (load(turn_) != kStrand)
        futex(turn_, FUTEX_WAIT, kDriver, nullptr);
}

} // namespace restore
