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
    /// The init of a pid namespace below the root's exists. `place`: in tree::Numbers::below().
    void tell_born(size_t place);
    /// Waits for that. Errors: Died when the restore was given up; BadImage where nobody makes it.
    Result<void> wait_born(size_t place);
    // A number that only the clerk can choose (number_clerk.hh); only in in_turn().
    /// The next process that is made gets it, if nobody else makes one in between. Errors: Died.
    Result<void> ask_for_number(uint32_t number);
    /// The newborn says whether it has got it.
    void tell_of_number(bool right);
    Result<bool> has_right_number();
    /// The clerk: waits for a wish and hands out what `choose` has chosen. Returns when the restore is given up.
    void serve_numbers(const std::function<void(uint32_t)> &choose);
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
        uint32_t turn;   ///< 1: somebody has it
        uint32_t births; ///< how many inits were told of; the futex of those who wait for one
        uint8_t born[1024];
        uint32_t number_wanted, number_verdict;
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
