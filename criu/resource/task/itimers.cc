// The three interval timers of a process (setitimer(2)). Armed last of all, so that restoring does not eat their time.
#include "criu/resource/task/resources.hh"

#include <sys/syscall.h>
#include <sys/time.h>

namespace resource::itimers {
namespace {

constexpr uint64_t kKinds[] = {ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF};

void write(const itimerval &value, img::itimer_entry *entry) {
    entry->set_isec(static_cast<uint64_t>(value.it_interval.tv_sec));
    entry->set_iusec(static_cast<uint64_t>(value.it_interval.tv_usec));
    entry->set_vsec(static_cast<uint64_t>(value.it_value.tv_sec));
    entry->set_vusec(static_cast<uint64_t>(value.it_value.tv_usec));
}

Answer ask(compel::Batch &batch, const tree::TaskFacts &) {
    uint64_t out = batch.out(3 * sizeof(itimerval));
    size_t first = batch.calls();
    for (uint64_t kind : kKinds)
        batch.call(SYS_getitimer, {kind, out + kind * sizeof(itimerval)});
    return [=](const compel::Batch &done, img::core_entry &core) -> Result<void> {
        img::task_timers_entry *timers = core.mutable_tc()->mutable_timers();
        for (uint64_t kind : kKinds) {
            TRY(must(done, first + kind, "getitimer"));
            auto value = done.value<itimerval>(out + kind * sizeof(itimerval));
            write(value, kind == ITIMER_REAL      ? timers->mutable_real()
                         : kind == ITIMER_VIRTUAL ? timers->mutable_virt()
                                                  : timers->mutable_prof());
        }
        return {};
    };
}

void plan_one(plan::ThreadPlan &plan, uint64_t kind, const img::itimer_entry &entry) {
    itimerval value{};
    value.it_interval.tv_sec = static_cast<time_t>(entry.isec());
    value.it_interval.tv_usec = static_cast<suseconds_t>(entry.iusec());
    value.it_value.tv_sec = static_cast<time_t>(entry.vsec());
    value.it_value.tv_usec = static_cast<suseconds_t>(entry.vusec());
    // Expired, its signal still queued: the kernel starts it again only when it delivers a signal of its own.
    if (!value.it_value.tv_sec && !value.it_value.tv_usec)
        value.it_value = value.it_interval;
    if (value.it_value.tv_sec || value.it_value.tv_usec)
        plan.call(Stage::Arm, "setitimer", SYS_setitimer, {kind, plan.data().add_value(value), 0});
}

Result<void> plan(plan::ThreadPlan &plan, const img::core_entry &core) {
    if (!core.tc().has_timers())
        return {};
    plan_one(plan, ITIMER_REAL, core.tc().timers().real());
    plan_one(plan, ITIMER_VIRTUAL, core.tc().timers().virt());
    plan_one(plan, ITIMER_PROF, core.tc().timers().prof());
    return {};
}

} // namespace

extern const TaskResource kResource{"interval timers", ask, plan};

} // namespace resource::itimers
