// The compiled restore of one task: bytes for the arena, and what the coordinator sets at the end.
#pragma once

#include "compel/ptrace.hh"
#include "criu/plan/address_space.hh"
#include "criu/plan/checkpoint.hh"
#include "criu/resource/task/limited_call.hh"

#include <asm/ldt.h>

namespace plan {

/// Stages that the coordinator opens (agent::Rendezvous::stage). The first ones are waited for before the agent runs.
enum RendezvousStage : uint32_t {
    // The first two only where the tree has namespaces of its own.
    kHooked = 1,    ///< the caller has done what he does in fresh namespaces
    kFilled = 2,    ///< they hold what the images say
    kAllForked = 3, ///< every process exists
    kGrouped = 4,   ///< process groups are joined; helpers and zombies go
    kOpened = 5,    ///< nobody uses descriptors of our own any more
    // The next two only where Checkpoint::has_late_files.
    kThreaded = 6,   ///< every thread exists
    kLateOpened = 7, ///< files opened late are there for the others to fetch
    kRestored = 8,   ///< everything but credentials
    kFinal = 9,      ///< never opened: the coordinator takes the threads from here
};

/// State of one thread that is set from outside when everything else is done.
struct ThreadFinish {
    uint32_t tid = 0;
    compel::Registers registers{};
    std::optional<resource::LimitedCall> limited_call;
    std::vector<user_desc> thread_areas; ///< set_thread_area(2)
    std::vector<std::byte> xstate;
    uint64_t signal_mask = 0;
    std::optional<compel::SyscallDispatch> dispatch;
};

/// Operations of one thread in their final order, for printing and validation.
struct Listing {
    uint32_t tid = 0;
    std::vector<PlannedOp> ops;
};

struct Program {
    uint64_t base = 0;            ///< where `bytes` belong: the start of its plan_room()
    std::vector<std::byte> bytes; ///< operations and their data
    Range stacks;                 ///< memory for the threads, far behind
    uint64_t start = 0;           ///< address of the leader's agent::RestoreStart
    uint64_t stack = 0;           ///< the leader's initial stack pointer
    uint64_t gate = 0;            ///< agent::Rendezvous that a process waits at for memory that it shares; 0 of others
    std::vector<Listing> listings;
};

/// Compiles the restore of a task. Pure. Errors: BadImage, Unsupported, naming what cannot be restored.
/// `list_id` is what the agent reports a failure under: list_id + index of the thread.
Result<Program> compile(const Checkpoint &checkpoint, const TaskImage &task, const AddressSpace &space,
                        const Surroundings &around, uint32_t list_id);

/// What remains for the coordinator. Errors: Unsupported for CPU state that this machine lacks.
Result<std::vector<ThreadFinish>> finishes(const TaskImage &task);

/// One line an operation: stage, name, arguments.
std::string describe(const PlannedOp &op);

/// Checks the invariants of a compiled list: stages ascend, references point backwards, nothing outside of the memory
/// stages touches the arena's code. Errors: Bug.
Result<void> validate(const Listing &listing, const Arena &arena);

} // namespace plan
