// One task: the agent goes in, all questions are asked in one round trip, its memory is written, the agent comes out.
#pragma once

#include "criu/dump/memory.hh"

namespace dump {

/// Descriptor tables and working directories are written through the first task that has them.
struct TablesDone {
    std::set<uint32_t> files, fs;
};

struct TaskDumpContext {
    image::ImageDirWriter &images;
    FileTable &files;
    MemoryDumpContext &memory;
    TablesDone tables;
};

/// Writes everything about a task that is not a zombie. The task is stopped before and after, exactly as it was.
Result<void> dump_task(TaskDumpContext &context, const tree::TaskFacts &task);

/// Writes core-N.img and nothing else: all there is of a zombie.
Result<void> dump_zombie(TaskDumpContext &context, const tree::TaskFacts &task);

} // namespace dump
