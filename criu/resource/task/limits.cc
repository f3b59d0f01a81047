// Resource limits. Read by the task itself (prlimit(2) on another user's task needs CAP_SYS_RESOURCE), and set by it
// while it is still privileged.
#include "criu/resource/task/resources.hh"

#include <sys/resource.h>
#include <sys/syscall.h>

namespace resource::limits {
namespace {

constexpr uint64_t kCount = 16; // RLIM_NLIMITS

Answer ask(compel::Batch &batch, const tree::TaskFacts &) {
    uint64_t out = batch.out(kCount * sizeof(rlimit));
    size_t first = batch.calls();
    for (uint64_t kind = 0; kind < kCount; kind++)
        batch.call(SYS_prlimit64, {0, kind, 0, out + kind * sizeof(rlimit)});
    return [=](const compel::Batch &done, img::core_entry &core) -> Result<void> {
        for (uint64_t kind = 0; kind < kCount; kind++) {
            TRY(must(done, first + kind, "prlimit"));
            auto limit = done.value<rlimit>(out + kind * sizeof(rlimit));
            img::rlimit_entry *entry = core.mutable_tc()->mutable_rlimits()->add_rlimits();
            entry->set_cur(limit.rlim_cur);
            entry->set_max(limit.rlim_max);
        }
        return {};
    };
}

Result<void> plan(plan::ThreadPlan &plan, const img::core_entry &core) {
    const auto &limits = core.tc().rlimits().rlimits();
    for (int kind = 0; kind < limits.size() && kind < static_cast<int>(kCount); kind++) {
        rlimit limit{limits[kind].cur(), limits[kind].max()};
        // Late, so that a low limit on memory, descriptors, processes or queued signals does not get in our own way.
        plan.call(Stage::Creds, "prlimit", SYS_prlimit64,
                  {0, static_cast<uint64_t>(kind), plan.data().add_value(limit), 0});
    }
    return {};
}

} // namespace

extern const TaskResource kResource{"resource limits", ask, plan};

} // namespace resource::limits
