// The memory of a task while it is still our own program: mapped in the arena and filled.
#pragma once

#include "criu/engine/progress.hh"
#include "criu/engine/restore/context.hh"

namespace restore {

/// Counters for stats-restore.
struct MemoryCounters {
    uint64_t compared = 0, skipped_cow = 0, restored = 0;
    engine::Progress *progress = nullptr;

    void add_restored(uint64_t pages) {
        restored += pages;
        engine::count_bytes(progress, pages * base::kPageSize);
    }
};

enum class Part : uint8_t {
    PassedOn, ///< what children inherit: before forking
    Own,      ///< the rest: after forking
};

/// Maps the regions of this part and fills them. What was inherited is compared with the image page by page, and only
/// differing pages are written, so that memory stays shared with the parent until somebody writes to it.
Result<void> restore_memory(RestoreContext &context, const plan::Node &node, Part part, MemoryCounters &counters);

/// Creates shared anonymous memory and fills it, each once, before the tree is forked: the tasks map it by descriptor.
Result<void> create_shared_memory(RestoreContext &context);

} // namespace restore
