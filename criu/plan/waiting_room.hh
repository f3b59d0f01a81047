// A thread that comes early: it has forked children, or has descriptors of its own (unshare(CLONE_FILES)).
//
// Which thread a child belongs to shows in the signal for a parent's death and in waits with __WNOTHREAD. So such a
// thread is made before its children, while the task is still our own program, forks them, puts its descriptors in
// place, and then waits here, in memory of the arena that nobody else uses, for the plan of its own restore.
#pragma once

#include "criu/plan/layout.hh"

#include "agent/contract.hh"

namespace plan {

/// At the start of its piece of the arena; its stack is the rest.
struct WaitingRoom {
    agent::RestoreStart start; ///< of its first list: wait at the gate, then go on with the plan
    agent::Rendezvous gate;    ///< opened by the leader
    uint64_t plan;             ///< agent::ThreadStart*, set before the gate is opened
    agent::Op ops[2];

    static constexpr uint64_t kSize = 8192;
};

inline constexpr size_t kMostEarlyThreads = (Arena::kWaitingRoomsEnd - Arena::kWaitingRoomsAt) / WaitingRoom::kSize;

/// `place`: the thread's in TaskImage::early_threads, behind first_room.
inline uint64_t waiting_room(const Arena &arena, size_t place) {
    return arena.base + Arena::kWaitingRoomsAt + place * WaitingRoom::kSize;
}

/// What it does until its plan is there. `address`: where it will lie.
inline WaitingRoom make_waiting_room(uint64_t address) {
    WaitingRoom room{};
    room.start.list = {address + offsetof(WaitingRoom, ops), 2, agent::kNoFailure};
    room.gate.expected = 1; // who waits for its arrival is woken
    room.start.rendezvous = address + offsetof(WaitingRoom, gate);
    room.ops[0].kind = agent::OpKind::Barrier;
    room.ops[0].arg[0] = address + offsetof(WaitingRoom, gate);
    room.ops[0].arg[1] = 1;
    room.ops[1].kind = agent::OpKind::Continue;
    room.ops[1].memory_refs = 1;
    room.ops[1].arg[0] = address + offsetof(WaitingRoom, plan);
    return room;
}

} // namespace plan
