// A second line of execution in this address space that takes turns with its driver.
//
// Threads that have to exist before the agent runs (they have forked children, or have descriptors of their own), and
// processes that share our memory (CLONE_VM), are none of libc's: they use their driver's thread pointer, so only one
// of the two may run at a time. The driver waits until the strand yields, or is in the agent, which needs no thread
// pointer; then the driver goes on for good.
#pragma once

#include "base/result.hh"

#include <functional>
#include <linux/sched.h>
#include <memory>
#include <vector>

namespace restore {

using base::Result;

class Rendezvous;

/// Where our own program ends: an entry of the agent, what it starts with, and a stack in the arena.
struct AgentStart {
    uint64_t entry = 0, start = 0, stack = 0;
    uint64_t gate = 0; ///< agent::Rendezvous at which a strand waits there; 0 of others
};

[[noreturn]] void jump(const AgentStart &start);

class Strand {
public:
    /// Runs on a stack of its own. Children that it forks go on in a process of their own, and never return.
    using Body = std::function<AgentStart(Strand &)>;

    /// Creates it by clone3(args), whose stack is filled in, and runs it until it yields. `kept`: where it stays
    /// known; it must not move. Errors: of clone3, as a code; Died when the restore was given up meanwhile.
    static Result<Strand *> start(clone_args args, Body body, const Rendezvous &meet,
                                  std::vector<std::unique_ptr<Strand>> &kept);
    Strand(const Strand &) = delete;

    /// By the driver: lets it run until it yields again or is in the agent. Errors: what it has failed with; Died.
    Result<void> resume(const Rendezvous &meet);
    /// By the strand: lets the driver run until it resumes.
    void yield();
    /// By the strand: what the driver's resume() says.
    void fail(Result<void> why) { outcome_ = std::move(why); }

private:
    explicit Strand(Body body) : body_(std::move(body)) {}
    [[noreturn]] static void run(Strand *self);
    static long clone(clone_args &args, Strand *self);
    Result<void> wait(const Rendezvous &meet);
    void wait_until_inside() const;

    Body body_;
    Result<void> outcome_{};
    uint64_t gate_ = 0;
    uint32_t turn_ = 0; ///< a futex
};

} // namespace restore
