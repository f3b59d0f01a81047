#include "criu/engine/restore/cgroups.hh"

#include <fmt/format.h>

namespace restore {
namespace {

/// CRIU notes the set of each thread, before that of each process. 0: that of the restore.
uint32_t set_of(const plan::Checkpoint &checkpoint, const plan::TaskImage &task, const plan::ThreadImage &thread) {
    const img::thread_core_entry &core = thread.core.thread_core();
    const uint32_t set = core.has_cg_set() ? core.cg_set() : task.core().tc().cg_set();
    return set == checkpoint.inventory.root_cg_set() ? 0 : set;
}

} // namespace

uint32_t root_set(const plan::Checkpoint &checkpoint) {
    return set_of(checkpoint, checkpoint.root(), checkpoint.root().threads.front());
}

// A task that was in the tool's own groups, while the root was in others, stays with the root: where the tool was then
// is not in the images.
Result<void> place_in_groups(const RestoreContext &context, const resource::cgroup::Groups &groups) {
    const uint32_t roots = root_set(context.checkpoint);
    for (const plan::TaskImage &task : context.checkpoint.tasks) {
        if (task.dead())
            continue;
        const uint32_t leaders = set_of(context.checkpoint, task, task.threads.front());
        if (leaders && leaders != roots && groups.knows(leaders))
            TRY_CTX(groups.move_process(leaders, context.real_pid(task.pid)), fmt::format("task {}", task.pid));
        for (const plan::ThreadImage &thread : task.threads)
            if (const uint32_t set = set_of(context.checkpoint, task, thread);
                set && set != leaders && groups.knows(set))
                TRY_CTX(groups.move_thread(set, context.real_pid(thread.tid)), fmt::format("thread {}", thread.tid));
    }
    return {};
}

} // namespace restore
