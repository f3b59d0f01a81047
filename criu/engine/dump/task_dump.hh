// One task: the agent goes in, all questions are asked in one round trip, its memory is written, the agent comes out.
#pragma once

#include "criu/engine/dump/memory.hh"

#include <memory>

namespace dump {

/// Descriptor tables and working directories are written through the first task that has them.
struct TablesDone {
    std::set<uint32_t> files, fs;
};

struct TaskDumpContext {
    image::ImageDirWriter &images;
    const tree::Namespaces &namespaces;
    FileTable &files;
    MemoryDumpContext &memory;
    TablesDone tables;
};

/// A task about which everything is written but the last of its memory, which it may be writing itself at the moment.
/// Without finish() the agent leaves and the task is as it was.
class TaskInDump {
public:
    /// Writes everything else. The task is stopped before.
    static Result<TaskInDump> begin(TaskDumpContext &context, const tree::TaskFacts &task);
    TaskInDump(TaskInDump &&) noexcept;
    TaskInDump &operator=(TaskInDump &&) noexcept;
    ~TaskInDump();

    /// The task is stopped afterwards, exactly as it was.
    Result<void> finish(TaskDumpContext &context);

private:
    struct Visit;
    explicit TaskInDump(std::unique_ptr<Visit> visit);
    std::unique_ptr<Visit> visit_;
};

/// Writes core-N.img and nothing else: all there is of a zombie.
Result<void> dump_zombie(TaskDumpContext &context, const tree::TaskFacts &task);

} // namespace dump
