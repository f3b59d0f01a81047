// Control groups are not restored yet. A set of them has a number in the images; that of CRIU itself, which the dump
// has in the inventory, is inherited from the restore.

#include "criu/engine/restore/surroundings.hh"

#include <fmt/format.h>

namespace restore {
namespace {

/// CRIU notes the set of each thread, before that of each process.
uint32_t set_of(const plan::TaskImage &task, const plan::ThreadImage &thread, uint32_t otherwise) {
    if (thread.core.thread_core().has_cg_set())
        return thread.core.thread_core().cg_set();
    return task.core().tc().has_cg_set() ? task.core().tc().cg_set() : otherwise;
}

} // namespace

Result<void> check_cgroups(const plan::Checkpoint &checkpoint) {
    const uint32_t own = checkpoint.inventory.root_cg_set();
    for (const plan::TaskImage &task : checkpoint.tasks)
        for (const plan::ThreadImage &thread : task.threads)
            if (!task.dead() && set_of(task, thread, own) != own)
                return base::fail(base::Error(base::ErrorKind::Unsupported,
                                              fmt::format("thread {} was in control groups of its own, which are not "
                                                          "restored yet",
                                                          thread.tid))
                                      .hint("--manage-cgroups=ignore: it comes back in those of criu restore"));
    return {};
}

} // namespace restore
