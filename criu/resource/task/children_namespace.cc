// The pid namespace that a thread's next child is born into, where that is not its own: it has called
// unshare(CLONE_NEWPID), or setns. Each thread has that for itself, and while it differs no thread can be made: hence
// set when all are there. (That of time belongs to the making of children: criu/engine/restore/task.cc.)
#include "criu/resource/task/resources.hh"

#include <sched.h>
#include <sys/syscall.h>

namespace resource::children_namespace {
namespace {

Answer ask(compel::Batch &, const tree::TaskFacts &, const tree::ThreadFacts &facts) {
    return [&facts](const compel::Batch &, img::core_entry &core) -> Result<void> {
        if (facts.pid_for_children)
            core.mutable_thread_core()->mutable_ext()->set_pid_for_children(
                static_cast<uint32_t>(facts.pid_for_children->value));
        return {};
    };
}

Result<void> plan(plan::ThreadPlan &plan, const img::core_entry &core) {
    const img::ext_thread_core &ext = core.thread_core().ext();
    if (!ext.has_pid_for_children())
        return {};
    if (!ext.pid_for_children()) {
        plan.call(Stage::Reap, "unshare, a pid namespace for children", SYS_unshare, {CLONE_NEWPID});
        return {};
    }
    const plan::OpRef init = plan.call(Stage::Reap, "pidfd_open, the init of its children's namespace", SYS_pidfd_open,
                                       {ext.pid_for_children(), 0});
    plan.call(Stage::Reap, "setns, the pid namespace of its children", SYS_setns, {init.result(), CLONE_NEWPID});
    plan.call(Stage::Reap, "close the init's pidfd", SYS_close, {init.result()});
    return {};
}

} // namespace

extern const ThreadResource kResource{"pid namespace of children", ask, plan};

} // namespace resource::children_namespace
