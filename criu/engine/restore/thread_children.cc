#include "criu/engine/restore/thread_children.hh"

#include "compel/blob.hh"
#include "criu/plan/thread_children.hh"

#include <atomic>
#include <cstring>
#include <fmt/format.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace restore {
namespace {

// The thread is none of libc's: it has the leader's thread pointer, so only one of the two may run at a time. The
// leader waits until the thread is in the agent, which needs no thread pointer.

struct Work {
    const std::function<Result<void>()> &fork;
    Result<void> outcome{};
    uint64_t entry, start, stack; ///< in the arena, where it goes when it is done
    std::atomic<uint32_t> done = 0;
};

[[noreturn]] void run(Work *work) {
    work->outcome = work->fork();
    const uint64_t entry = work->entry, start = work->start, stack = work->stack;
    // Behind the store the leader may run, and with it whatever uses the thread pointer.
    asm volatile(
        "mov %[stack], %%rsp\n\t"
        "movl $1, (%[done])\n\t"
        "mov %[wake], %%eax\n\t" // futex(done, FUTEX_WAKE, 1)
        "mov %[start], %%rbx\n\t"
        "mov %[done], %%rdi\n\t"
        "mov $1, %%esi\n\t"
        "mov $1, %%edx\n\t"
        "syscall\n\t"
        "mov %%rbx, %%rdi\n\t"
        "jmp *%[entry]"
        :
        : [stack] "r"(stack), [done] "r"(&work->done), [wake] "i"(SYS_futex), [start] "r"(start), [entry] "r"(entry)
        : "memory", "rax", "rbx", "rcx", "rdi", "rsi", "rdx", "r11");
    __builtin_unreachable();
}

long clone_thread(clone_args &args, Work *work) {
    long result = 0;
    register Work *work_register asm("r12") = work;
    register void (*entry_register)(Work *) asm("r13") = run;
    asm volatile("syscall\n\t"
                 "test %%rax, %%rax\n\t"
                 "jnz 1f\n\t"
                 "xor %%ebp, %%ebp\n\t"
                 "mov %%r12, %%rdi\n\t"
                 "call *%%r13\n\t"
                 "ud2\n"
                 "1:"
                 : "=a"(result)
                 : "a"(SYS_clone3), "D"(&args), "S"(sizeof args), "r"(work_register), "r"(entry_register)
                 : "rcx", "r11", "memory");
    return result;
}

Result<void> map_waiting_room(uint64_t address) {
    void *room = mmap(reinterpret_cast<void *>(address), plan::Forker::kSize, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (room == MAP_FAILED)
        return base::fail_sys("map a thread's waiting room");
    const plan::Forker forker = plan::make_forker(address);
    std::memcpy(room, &forker, sizeof forker);
    return {};
}

} // namespace

Result<void> fork_in_thread(const plan::Arena &arena, std::span<const int32_t> tid, size_t place,
                            const std::function<Result<void>()> &fork) {
    constexpr size_t kStack = 8u << 20; // children live on it until they jump into the agent
    const uint64_t room = plan::forker_address(arena, place);
    TRY(map_waiting_room(room));
    void *stack = mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stack == MAP_FAILED)
        return base::fail_sys("map a thread's stack");
    Work work{.fork = fork,
              .entry = arena.code() + compel::agent_header().restore,
              .start = room + offsetof(plan::Forker, start),
              .stack = room + plan::Forker::kSize};
    clone_args args{};
    args.flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
    args.stack = reinterpret_cast<uint64_t>(stack);
    args.stack_size = kStack;
    args.set_tid = reinterpret_cast<uint64_t>(tid.data());
    args.set_tid_size = tid.size();
    if (const long made = clone_thread(args, &work); made < 0)
        return base::fail_sys(static_cast<int>(-made), fmt::format("create thread {}", tid.back()));
    while (work.done.load(std::memory_order_acquire) == 0)
        syscall(SYS_futex, &work.done, FUTEX_WAIT, 0, nullptr, nullptr, 0);
    return std::move(work.outcome);
}

} // namespace restore
