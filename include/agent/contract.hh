// The contract between the tool and the agent.
//
// The agent is a small position-independent program that runs inside a task, in both directions: a dump injects it into
// the stopped task to ask what only the task itself can answer; a restore jumps to it once the task has let go of our
// own memory. In both it does one thing: it executes a list of operations. This header is compiled on both sides; every
// structure here has a fixed layout, checked below.
#pragma once

#include <cstddef>
#include <cstdint>

namespace agent {

enum class OpKind : uint16_t {
    Syscall = 0, ///< nr(arg0..arg5); the result is stored
    SpawnThread, ///< arg0 = ThreadStart*; the result is the new thread id
    Barrier,     ///< arg0 = Rendezvous*, arg1 = stage: arrive, then wait until the coordinator has opened that stage
    Copy,        ///< arg0 = destination, arg1 = source, arg2 = bytes
    TimerCreate, ///< arg0 = clock, arg1 = sigevent*, arg2 = wanted id: create and delete until the kernel hands it out
    SubmitEmpty, ///< arg0 = SubmitEmptyArgs*, arg1 = io_uring descriptor: submit and complete requests that do nothing
    Park,        ///< wait for the tracer, for ever
    Twin,        ///< arg0 = descriptor: see agent.cc; the result is the twin's pid, in the process's own namespace
    Continue,    ///< arg0 = ThreadStart*: go on with that list instead
    Call32,      ///< nr(arg0..arg4) as a 32-bit program makes it: all arguments, and what they point to, below 4 GiB
};

enum OpFlag : uint16_t {
    kOpMayFail = 1, ///< go on after an error; the result says what happened
    kOpExpect = 2,  ///< any result but `expect` is an error (EBADE)
};

/// One operation, 80 bytes.
struct Op {
    OpKind kind;
    uint16_t flags;
    uint8_t result_refs; ///< bit i: arg[i] is the index of an earlier operation of this list, whose result is used
    uint8_t memory_refs; ///< bit i: arg[i] is the address of a 64-bit word, whose value is used
    uint16_t nr;         ///< system call number
    uint64_t arg[6];
    int64_t expect;
    int64_t result; ///< what the system call returned: -errno on failure
    uint64_t reserved;
};
static_assert(sizeof(Op) == 80 && offsetof(Op, arg) == 8 && offsetof(Op, result) == 64);

inline constexpr uint32_t kNoFailure = ~0u;

/// Where an io_uring instance keeps its counters. All its requests are IORING_OP_NOP.
struct SubmitEmptyArgs {
    uint64_t sq_tail, cq_head, cq_tail; ///< addresses of the 32-bit words
    uint32_t count, batch;              ///< how many in all, and at once
    uint32_t enter_flags;               ///< of io_uring_enter: what it takes where a kernel thread submits
    uint32_t reserved;
};
static_assert(sizeof(SubmitEmptyArgs) == 40);

/// A list of operations and how far it came.
struct OpList {
    uint64_t ops; ///< address of the first Op
    uint32_t count;
    uint32_t failed; ///< index of the operation that ended the run, kNoFailure if it ran to its end
};
static_assert(sizeof(OpList) == 16);

// ---- dump: the agent serves commands that arrive on a socket -------------------------------------------------------

enum class Command : uint32_t {
    Run = 1,     ///< run Control::list; a descriptor that comes along (SCM_RIGHTS) is closed behind it
    WaitThreads, ///< reply when all other threads have finished their lists
};

struct Request {
    Command command;
    uint32_t reserved;
};

struct Reply {
    int64_t value;
};

/// The serving thread's view of a dump. Its stack is the memory right below this structure.
struct Control {
    int32_t tool_socket;  ///< the tool's end, until the tool has taken it; -errno if there is none
    int32_t agent_socket; ///< the agent's end
    uint32_t inside;      ///< threads that are inside the agent; the last to leave unmaps it
    uint32_t pending;     ///< threads that have not finished their list yet (futex)
    uint32_t release;     ///< 1: threads leave (futex)
    uint32_t reserved;
    int64_t passed_fd; ///< descriptor that came with Run, -1 if none; operations may refer to this word
    OpList list;
    uint64_t leave; ///< address of the boot code's `leave` label: where a thread goes when it is done
    uint64_t size;  ///< bytes of the agent's memory, for whoever finds it abandoned
};
static_assert(sizeof(Control) == 64);

/// One thread's run in a dump. `stack` of the thread ends right below this structure.
struct ThreadSlot {
    uint64_t control; ///< Control*
    uint64_t reserved;
    OpList list;
};
static_assert(sizeof(ThreadSlot) == 32);

// ---- restore -------------------------------------------------------------------------------------------------------

/// Shared by the coordinator and all tasks. The coordinator opens stages one after the other.
struct Rendezvous {
    uint32_t stage;    ///< highest stage that is open (futex, woken on change)
    uint32_t arrived;  ///< tasks and threads that reached the barrier of the next stage (futex)
    uint32_t expected; ///< how many must arrive before the coordinator is woken
    uint32_t abort;    ///< not 0: something failed; nobody waits any longer
    // The first failure wins the right to fill these in (abort goes 0 -> 1 -> 2 when they are complete).
    uint32_t failed_tid;
    uint32_t failed_op;
    int32_t failed_errno;
    uint32_t failed_list; ///< identifies the list (task index, thread index)
};
static_assert(sizeof(Rendezvous) == 32);

/// What a thread of a restored task starts with. clone3's arguments lie elsewhere in the plan's data.
struct ThreadStart {
    uint64_t clone_args; ///< struct clone_args*
    uint64_t clone_args_size;
    OpList list;
    uint64_t rendezvous;
    uint32_t list_id;
    uint32_t reserved;
};
static_assert(sizeof(ThreadStart) == 48);

/// What the leader of a restored task starts with.
struct RestoreStart {
    OpList list;
    uint64_t rendezvous;
    uint32_t list_id;
    uint32_t reserved;
};
static_assert(sizeof(RestoreStart) == 32);

// ---- the blob ------------------------------------------------------------------------------------------------------

/// Lies at the start of the blob. Offsets are from the start of the blob.
struct BlobHeader {
    uint32_t magic;   ///< kBlobMagic
    uint32_t serve;   ///< entry of a dump: rdi = Control*
    uint32_t thread;  ///< entry of another thread in a dump: rdi = ThreadSlot*
    uint32_t restore; ///< entry of a restore: rdi = RestoreStart*
    uint32_t boot;    ///< start of the boot code (arch/x86_64/entry.S)
    uint32_t boot_size;
    uint32_t boot_leave;  ///< offset inside the boot code: out of the agent, and back
    uint32_t boot_return; ///< offset inside the boot code: back, by the frame alone
    uint32_t call32;      ///< an instruction that makes a system call as a 32-bit program does
    uint32_t reserved;
};
static_assert(sizeof(BlobHeader) == 40);
inline constexpr uint32_t kBlobMagic = 0x41474e54;

/// Where the boot code finds the state of a thread: on the thread's own stack below the red zone. Popped in this order.
struct BootFrame {
    uint64_t signal_mask;
    uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
    uint64_t rip, cs, rflags, rsp, ss;
};
static_assert(sizeof(BootFrame) == 21 * 8);

} // namespace agent
