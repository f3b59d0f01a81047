// A thread that has forked children of its own.
//
// Which thread a child belongs to shows in the signal for a parent's death and in waits with __WNOTHREAD. So such a
// thread is made before its children, while the task is still our own program, forks them, and then waits here, in
// memory of the arena that nobody else uses, for the plan of its own restore.
#pragma once

#include "criu/plan/layout.hh"

#include "agent/contract.hh"

namespace plan {

/// At the start of its piece of the arena; its stack is the rest.
struct Forker {
    agent::RestoreStart start; ///< of its first list: wait at the gate, then go on with the plan
    agent::Rendezvous gate;    ///< opened by the leader
    uint64_t plan;             ///< agent::ThreadStart*, set before the gate is opened
    agent::Op ops[2];

    static constexpr uint64_t kSize = 8192;
};

inline constexpr size_t kMostForkers = (Arena::kForkersEnd - Arena::kForkersAt) / Forker::kSize;

/// `place`: the thread's in TaskImage::forkers.
inline uint64_t forker_address(const Arena &arena, size_t place) {
    return arena.base + Arena::kForkersAt + place * Forker::kSize;
}

/// What it does until its plan is there. `address`: where it will lie.
inline Forker make_forker(uint64_t address) {
    Forker forker{};
    forker.start.list = {address + offsetof(Forker, ops), 2, agent::kNoFailure};
    forker.start.rendezvous = address + offsetof(Forker, gate);
    forker.ops[0].kind = agent::OpKind::Barrier;
    forker.ops[0].arg[0] = address + offsetof(Forker, gate);
    forker.ops[0].arg[1] = 1;
    forker.ops[1].kind = agent::OpKind::Continue;
    forker.ops[1].memory_refs = 1;
    forker.ops[1].arg[0] = address + offsetof(Forker, plan);
    return forker;
}

} // namespace plan
