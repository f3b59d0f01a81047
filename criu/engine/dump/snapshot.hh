// Live snapshots: a dump that leaves the tree running lets it go on before its memory is written.
//
// While the tree stands, each task forks a copy of itself that holds its memory (memory_twin.hh); forking copies page
// tables, not pages. What a fork does not copy (mappings marked so, huge pages of hugetlbfs, what the kernel writes to)
// is read in the stop. Shared memory is written in the stop, as ever.
#pragma once

#include "criu/engine/dump/memory_twin.hh"

#include <list>

namespace dump {

/// How the memory of one task was taken.
class TaskSnapshot {
public:
    TaskSnapshot(const tree::TaskFacts &task, PageRuns runs, MemoryTwin twin)
        : task_(&task), runs_(std::move(runs)), twin_(std::move(twin)) {}

    /// Reads what the twin does not have. The task is stopped.
    Result<void> read_rest(const std::vector<resource::MappingClass> &classes, const compel::RemoteMemory &memory);
    /// Writes all of it. The task runs.
    Result<void> write(MemoryDumpContext &context);

private:
    Result<void> read(uint64_t address, std::span<std::byte> into) const;

    const tree::TaskFacts *task_;
    PageRuns runs_;
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
    /// Whether this dump can be one, and is worth it; a reason against it is logged.
    /// `tasks`: the tree, stopped.
    static std::unique_ptr<Snapshot> plan(const engine::DumpRequest &request, const std::vector<tree::TaskFacts> &tasks,
                                          bool has_listeners, base::Log &log);

    /// Takes the memory of a stopped task. False where that cannot be done: it has to be written in the stop.
    Result<bool> take(const tree::TaskFacts &task, const std::vector<resource::MappingClass> &classes,
                      compel::Injection &agent, const compel::RemoteMemory &memory, PageRuns &runs);
    bool is_empty() const { return tasks_.empty(); }
    /// Writes all memory that was taken. The tree runs.
    Result<void> write(MemoryDumpContext &context);

private:
    explicit Snapshot(base::Log &log) : log_(&log) {}
    base::Log *log_;
    std::list<TaskSnapshot> tasks_;
    bool reaper_ = false; ///< some task would become the parent of twins
};

} // namespace dump
