// Live snapshots: a dump that leaves the tree running lets it go on before its memory is written.
//
// Either each task, while the tree stands, forks a copy of itself that holds its memory (memory_twin.hh); forking
// copies page tables, not pages. What a fork does not copy (mappings marked so, huge pages of hugetlbfs, what the
// kernel writes to) is read in the stop. Or it was copied before the stop (precopy.hh). Shared memory is written in the
// stop, as ever.
#pragma once

#include "criu/engine/dump/memory_twin.hh"
#include "criu/engine/dump/snapshot_choice.hh"

#include <list>

namespace dump {

/// Of each mapping, whether a twin has its pages.
std::vector<bool> copied_by_fork(const tree::TaskFacts &task, const std::vector<resource::MappingClass> &classes);

/// The memory of one task as it was in the stop.
class TakenMemory {
public:
    TakenMemory() = default;
    virtual ~TakenMemory() = default;
    TakenMemory(TakenMemory &&) = default;
    TakenMemory &operator=(TakenMemory &&) = default;
    /// Writes all of it. The task runs.
    virtual Result<void> write(MemoryDumpContext &context) = 0;
};

/// By a twin.
class TaskSnapshot final : public TakenMemory {
public:
    /// `mm`: less its guards. `runs`: of what the twin does not have, at least.
    TaskSnapshot(const tree::TaskFacts &task, std::vector<resource::MappingClass> classes, MemoryTwin twin,
                 img::mm_entry mm, PageRuns runs)
        : task_(&task), classes_(std::move(classes)), mm_(std::move(mm)), runs_(std::move(runs)),
          twin_(std::move(twin)) {}

    /// Reads what the twin does not have. The task is stopped.
    Result<void> read_rest(const compel::RemoteMemory &memory);
    /// Which pages the twin has is not known yet: to look through the page tables takes as long as to copy them.
    void look_later() { looks_later_ = true; }
    Result<void> write(MemoryDumpContext &context) override;

private:
    Result<void> look();
    Result<void> read(uint64_t address, std::span<std::byte> into) const;

    const tree::TaskFacts *task_;
    std::vector<resource::MappingClass> classes_;
    img::mm_entry mm_;
    PageRuns runs_;
    bool looks_later_ = false;
    MemoryTwin twin_;
    struct Kept {
        pages::Extent extent;
        size_t offset;
    };
    std::vector<Kept> kept_; ///< what was read in the stop, ascending
    std::vector<std::byte> bytes_;
};

class Snapshot {
public:
    /// Null where memory is written in the stop; a reason against copies that were wanted is logged.
    /// `copied_ahead`: there is memory that was copied before. `tasks`: the tree, stopped.
    static std::unique_ptr<Snapshot> plan(const engine::DumpRequest &request, SnapshotWay way, bool copied_ahead,
                                          const std::vector<tree::TaskFacts> &tasks, base::Log &log);

    /// A copy of a stopped task, if it is worth one. Nothing where that cannot be done: its memory has to be written in
    /// the stop.
    Result<std::optional<MemoryTwin>> fork(const tree::TaskFacts &task, compel::Injection &agent);
    void add(std::unique_ptr<TakenMemory> taken) { tasks_.push_back(std::move(taken)); }
    bool is_empty() const { return tasks_.empty(); }
    /// Writes all memory that was taken. The tree runs.
    Result<void> write(MemoryDumpContext &context);

private:
    Snapshot(base::Log &log, bool forks) : log_(&log), forks_(forks) {}
    base::Log *log_;
    bool forks_;
    std::list<std::unique_ptr<TakenMemory>> tasks_;
    bool reaper_ = false; ///< some task would become the parent of twins
};

} // namespace dump
