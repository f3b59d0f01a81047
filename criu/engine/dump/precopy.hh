// Live snapshots without copies of tasks: memory is copied before the stop, while the tree runs and the kernel notes
// its writes (criu/engine/tracking); in the stop only what was written since is read.
//
// Each round begins with a stop of its own, a short one, in which the notes are taken. They could be taken while the
// tree runs, but for one case: a read(2) with O_DIRECT that is under way writes to pages that the kernel has counted as
// written when it began. Nobody is in the middle of one in a stop.
#pragma once

#include "criu/engine/dump/copied_memory.hh"
#include "criu/engine/dump/increments.hh"
#include "criu/engine/dump/snapshot.hh"
#include "criu/kernel/freezer_group.hh"
#include "criu/resource/task/timed_polls.hh"

namespace dump {

class Precopy {
public:
    /// `increments`: notes nothing yet by itself.
    Precopy(const engine::DumpRequest &request, Increments &increments, base::Log &log)
        : request_(request), increments_(increments), log_(log) {}

    /// Before the stop. That memory cannot be copied so is no error: it is said in the log, and there is none.
    /// `guarded`: somebody sees to the tasks if we are killed.
    Result<void> run(bool guarded, resource::TimedPolls &polls, std::optional<kernel::FreezerGroup> &group);
    bool is_empty() const { return copies_.empty(); }

    /// Memory of a stopped task in which the notes still are; nothing if there is none of it.
    std::optional<CopiedMemory> take(const tree::TaskFacts &task);
    /// Where further files of this kind go.
    int folder() const;

private:
    struct Copy {
        tracking::Identity who;
        CopiedMemory memory;
    };
    struct Count {
        uint64_t copied = 0, written = 0; ///< pages
    };
    Result<bool> begin_round(bool guarded, resource::TimedPolls &polls, std::optional<kernel::FreezerGroup> &group);
    Result<void> take_notes(const tree::TaskFacts &task);
    Result<Count> copy_round();
    Result<Copy *> copy_of(const tree::TaskFacts &task);

    const engine::DumpRequest &request_;
    Increments &increments_;
    base::Log &log_;
    std::vector<tree::TaskFacts> tasks_; ///< of the round
    std::list<Copy> copies_;
};

/// One task whose memory was copied ahead.
class PrecopiedTask final : public TakenMemory {
public:
    /// `runs`: those that are to be taken from `memory` are marked as in the parent; the others lie in `late`, one
    /// behind the other.
    PrecopiedTask(const tree::TaskFacts &task, CopiedMemory memory, base::UniqueFd late, PageRuns runs)
        : task_(&task), memory_(std::move(memory)), late_(std::move(late)), runs_(std::move(runs)) {}
    Result<void> write(MemoryDumpContext &context) override;

private:
    const tree::TaskFacts *task_;
    CopiedMemory memory_;
    base::UniqueFd late_;
    PageRuns runs_;
};

} // namespace dump
