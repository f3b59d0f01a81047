// Pending signals: the private queue of each thread and the shared one of the process, with their complete siginfo, in
// order. Read from outside by PTRACE_PEEKSIGINFO; queued again by the thread itself, which may forge any siginfo to
// itself. But not SIGSTOP, which nobody can block: it would stop the task on the spot. It is noted beside the queues,
// and the coordinator sends it at the end.
#include "criu/resource/task/resources.hh"

#include <csignal>
#include <cstring>
#include <sys/syscall.h>

namespace resource::signal_queues {
namespace {

/// Returns whether a SIGSTOP is among them: CRIU would queue it again while it restores, and stop.
bool write_queue(const std::vector<siginfo_t> &queue, img::signal_queue_entry *into) {
    bool stop = false;
    for (const siginfo_t &info : queue)
        if (info.si_signo == SIGSTOP)
            stop = true;
        else
            into->add_signals()->set_siginfo(&info, sizeof info);
    return stop;
}

// Thread ids are not known to the image's signals: tgkill-style queueing asks the agent for its own id first.
Result<void> plan_queue(plan::ThreadPlan &plan, const img::signal_queue_entry &queue, bool shared) {
    if (queue.signals_size() == 0)
        return {};
    plan::OpRef pid = plan.call(Stage::Reap, "getpid", SYS_getpid, {});
    plan::OpRef tid = plan.call(Stage::Reap, "gettid", SYS_gettid, {});
    for (const img::siginfo_entry &entry : queue.signals()) {
        siginfo_t info;
        if (entry.siginfo().size() != sizeof info)
            return base::bad_image("core: a queued signal is not 128 bytes long");
        std::memcpy(&info, entry.siginfo().data(), sizeof info);
        if (info.si_signo < 1 || info.si_signo > 64)
            return base::bad_image("core: a queued signal has no valid number");
        if (info.si_signo == SIGSTOP)
            continue;
        uint64_t at = plan.data().add_value(info);
        auto signal = static_cast<uint64_t>(info.si_signo);
        if (shared)
            plan.call(Stage::Reap, "rt_sigqueueinfo", SYS_rt_sigqueueinfo, {pid.result(), signal, at});
        else
            plan.call(Stage::Reap, "rt_tgsigqueueinfo", SYS_rt_tgsigqueueinfo,
                      {pid.result(), tid.result(), signal, at});
    }
    return {};
}

Answer ask_private(compel::Batch &, const tree::TaskFacts &, const tree::ThreadFacts &facts) {
    return [&facts](const compel::Batch &, img::core_entry &core) -> Result<void> {
        const bool stop = write_queue(facts.pending, core.mutable_thread_core()->mutable_signals_p());
        if (stop && core.has_tc())
            core.mutable_tc()->mutable_ext()->set_stop_pending(true);
        if (core.has_tc())
            core.mutable_tc()->set_blk_sigset(facts.signal_mask);
        else
            core.mutable_thread_core()->set_blk_sigset(facts.signal_mask);
        return {};
    };
}

Answer ask_shared(compel::Batch &, const tree::TaskFacts &facts) {
    return [&facts](const compel::Batch &, img::core_entry &core) -> Result<void> {
        if (write_queue(facts.shared_pending, core.mutable_tc()->mutable_signals_s()))
            core.mutable_tc()->mutable_ext()->set_stop_pending(true);
        return {};
    };
}

Result<void> plan_private(plan::ThreadPlan &plan, const img::core_entry &core) {
    return plan_queue(plan, core.thread_core().signals_p(), false);
}

Result<void> plan_shared(plan::ThreadPlan &plan, const img::core_entry &core) {
    return plan_queue(plan, core.tc().signals_s(), true);
}

} // namespace

extern const ThreadResource kPrivate{"pending signals of a thread", ask_private, plan_private};
extern const TaskResource kShared{"pending signals of a process", ask_shared, plan_shared};

} // namespace resource::signal_queues
