// Where the coordinator and all tasks of a restore meet: a page of shared memory at a fixed address of the arena.
//
// Tasks arrive at a stage and wait until the coordinator opens it; the coordinator opens it when all have arrived. The
// first one that fails says why and everybody stops.
#pragma once

#include "agent/contract.hh"
#include "base/ids.hh"
#include "base/result.hh"
#include "criu/plan/layout.hh"

#include <functional>
#include <string>

namespace restore {

using base::Result;

class Rendezvous {
public:
    /// Maps the page in the coordinator; children inherit it.
    static Result<Rendezvous> create(const plan::Arena &arena);

    // ---- coordinator
    /// How many will arrive at the next stage. Call before the stage before is opened.
    void expect(uint32_t count);
    /// Waits until all expected have arrived. `alive` is asked now and then; it returns an error to give up.
    /// Errors: what the one that failed reported; whatever `alive` returns.
    template <class Alive> Result<void> wait_all(Alive alive);
    void open(uint32_t stage);
    /// What the first that failed reported. Only if given_up().
    Result<void> failure() const;
    /// Tells everybody to give up.
    void abort();

    // ---- tasks
    /// Arrives and waits until `stage` is open. Errors: Died when the restore was given up.
    Result<void> pass(uint32_t stage);
    /// Arrives without waiting.
    void arrive();
    void wait_open(uint32_t stage);
    /// For a task that the kernel does not end with the coordinator: from now on a coordinator that has died counts as
    /// giving up. Until the task places its own files.
    void watch_coordinator() { watches_ = true; }
    bool watches_coordinator() const { return watches_; }
    bool coordinator_has_died() const;
    bool given_up() const;
    /// Whoever creates the root task tells the coordinator its pid, as both see it.
    void tell_root(base::Pid root);
    base::Pid root() const; ///< 0: not there yet
    /// One task at a time runs `body`. Errors: its own; Died when the restore was given up meanwhile.
    Result<void> in_turn(const std::function<Result<void>()> &body);
    /// Adds to the counters of stats-restore.
    void count(uint64_t compared, uint64_t skipped_cow, uint64_t restored);
    /// Reports a failure; only the first counts.
    void report(const base::Error &error);

    /// The agent's report, if it was the agent that failed.
    struct AgentFailure {
        uint32_t tid, op;
        int32_t code;
        uint32_t list;
    };
    bool agent_failed(AgentFailure &failure) const;

    struct Counters {
        uint64_t compared, skipped_cow, restored;
    };
    Counters counters() const;

private:
    struct Page {
        agent::Rendezvous meet;
        Counters counters;
        uint32_t root;
        uint32_t turn; ///< 1: somebody has it
        uint32_t text_length, hint_length;
        char text[3000], hint[900];
    };
    Rendezvous(Page *page, int coordinator) : page_(page), coordinator_(coordinator) {}
    bool wait_some();

    Page *page_;
    int coordinator_; ///< pidfd; lives as long as the coordinator, and is closed with all that is foreign to a task
    bool watches_ = false;
};

template <class Alive> Result<void> Rendezvous::wait_all(Alive alive) {
    for (;;) {
        if (given_up())
            return failure();
        if (wait_some())
            return {};
        if (Result<void> life = alive(); !life)
            return given_up() ? failure() : life; // who ends has mostly said why
    }
}

} // namespace restore
