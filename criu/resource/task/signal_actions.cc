// Signal actions: what a process does with each signal. Private to the process (shared with CLONE_SIGHAND), so the task
// is asked for each with rt_sigaction(2). SIGKILL and SIGSTOP have none.
#include "criu/resource/task/resources.hh"

#include <csignal>
#include <sys/syscall.h>

namespace resource::signal_actions {
namespace {

constexpr int kSignals = 64;

struct KernelSigaction {
    uint64_t handler, flags, restorer, mask;
};

bool has_action(int signal) {
    return signal != SIGKILL && signal != SIGSTOP;
}

Answer ask(compel::Batch &batch, const tree::TaskFacts &) {
    uint64_t out = batch.out(kSignals * sizeof(KernelSigaction));
    size_t first = batch.calls();
    for (int signal = 1; signal <= kSignals; signal++)
        if (has_action(signal))
            batch.call(SYS_rt_sigaction, {static_cast<uint64_t>(signal), 0,
                                          out + static_cast<uint64_t>(signal - 1) * sizeof(KernelSigaction), 8});
    return [=](const compel::Batch &done, img::core_entry &core) -> Result<void> {
        size_t call = first;
        for (int signal = 1; signal <= kSignals; signal++) {
            if (!has_action(signal))
                continue;
            TRY(must(done, call++, "rt_sigaction"));
            auto action =
                done.value<KernelSigaction>(out + static_cast<uint64_t>(signal - 1) * sizeof(KernelSigaction));
            img::sa_entry *entry = core.mutable_tc()->add_sigactions();
            entry->set_sigaction(action.handler);
            entry->set_flags(action.flags);
            entry->set_restorer(action.restorer);
            entry->set_mask(action.mask);
            entry->set_compat_sigaction(false);
        }
        return {};
    };
}

Result<void> plan(plan::ThreadPlan &plan, const img::core_entry &core) {
    const auto &actions = core.tc().sigactions();
    if (actions.size() == 0)
        return {}; // shared with the parent: nothing of its own
    if (actions.size() != kSignals - 2)
        return base::bad_image("core: there must be 62 signal actions");
    int at = 0;
    for (int signal = 1; signal <= kSignals; signal++) {
        if (!has_action(signal))
            continue;
        const img::sa_entry &entry = actions[at++];
        if (entry.compat_sigaction())
            return base::unsupported("a signal handler of a 32-bit task");
        if (entry.sigaction() == 0 && entry.flags() == 0 && entry.mask() == 0)
            continue; // the default, which every task starts with
        KernelSigaction action{entry.sigaction(), entry.flags(), entry.restorer(), entry.mask()};
        plan.call(Stage::Actions, "rt_sigaction", SYS_rt_sigaction,
                  {static_cast<uint64_t>(signal), plan.data().add_value(action), 0, 8});
    }
    return {};
}

} // namespace

extern const TaskResource kResource{"signal actions", ask, plan};

} // namespace resource::signal_actions
