// Signal actions: what a process does with each signal. Private to the process (shared with CLONE_SIGHAND), so the task
// is asked for each with rt_sigaction(2). SIGKILL and SIGSTOP have none. The kernel notes with each action whether a
// 32-bit call has set it, and does not tell.
#include "criu/resource/task/resources.hh"

#include <csignal>
#include <optional>
#include <sys/mman.h>
#include <sys/syscall.h>

namespace resource::signal_actions {
namespace {

constexpr int kSignals = 64;

struct KernelSigaction {
    uint64_t handler, flags, restorer, mask;
};

/// As 32-bit programs know it.
struct KernelSigaction32 {
    uint32_t handler, flags, restorer, mask[2];
};

// The call by which an action is set decides what frame its handler gets, and a 32-bit call needs the action below
// 4 GiB. Nothing of the agent's is certain to lie there: a page of its own does, for the time.
class NarrowActions {
public:
    Result<void> plan(plan::ThreadPlan &plan, int signal, const img::sa_entry &entry) {
        constexpr long kSigaction = 174; // rt_sigaction
        constexpr uint64_t kEnd = 1ull << 32;
        if (entry.sigaction() >= kEnd || entry.flags() >= kEnd || entry.restorer() >= kEnd)
            return base::bad_image("core: a signal action of a 32-bit task is above 4 GiB");
        if (!page_)
            page_ = plan.call(
                Stage::Actions, "mmap below 4 GiB", SYS_mmap,
                {0, base::kPageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, ~uint64_t{0}, 0});
        const KernelSigaction32 action{low(entry.sigaction()),
                                       low(entry.flags()),
                                       low(entry.restorer()),
                                       {low(entry.mask()), low(entry.mask() >> 32)}};
        plan.op(Stage::Actions, "put down an action", agent::OpKind::Copy,
                {page_->result(), plan.data().add_value(action), sizeof action});
        plan.call32(Stage::Actions, "rt_sigaction of 32 bits", kSigaction,
                    {static_cast<uint64_t>(signal), page_->result(), 0, 8});
        return {};
    }
    void finish(plan::ThreadPlan &plan) const {
        if (page_)
            plan.call(Stage::Actions, "munmap below 4 GiB", SYS_munmap, {page_->result(), base::kPageSize});
    }

private:
    static uint32_t low(uint64_t word) { return static_cast<uint32_t>(word); }
    std::optional<plan::OpRef> page_;
};

bool has_action(int signal) {
    return signal != SIGKILL && signal != SIGSTOP;
}

Answer ask(compel::Batch &batch, const tree::TaskFacts &task) {
    uint64_t out = batch.out(kSignals * sizeof(KernelSigaction));
    size_t first = batch.calls();
    for (int signal = 1; signal <= kSignals; signal++)
        if (has_action(signal))
            batch.call(SYS_rt_sigaction, {static_cast<uint64_t>(signal), 0,
                                          out + static_cast<uint64_t>(signal - 1) * sizeof(KernelSigaction), 8});
    return [=, narrow = task.is_32bit](const compel::Batch &done, img::core_entry &core) -> Result<void> {
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
            entry->set_compat_sigaction(narrow);
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
    NarrowActions narrow;
    int at = 0;
    for (int signal = 1; signal <= kSignals; signal++) {
        if (!has_action(signal))
            continue;
        const img::sa_entry &entry = actions[at++];
        if (entry.sigaction() == 0 && entry.flags() == 0 && entry.mask() == 0)
            continue; // the default, which every task starts with
        if (entry.compat_sigaction()) {
            TRY(narrow.plan(plan, signal, entry));
            continue;
        }
        KernelSigaction action{entry.sigaction(), entry.flags(), entry.restorer(), entry.mask()};
        plan.call(Stage::Actions, "rt_sigaction", SYS_rt_sigaction,
                  {static_cast<uint64_t>(signal), plan.data().add_value(action), 0, 8});
    }
    narrow.finish(plan);
    return {};
}

} // namespace

extern const TaskResource kResource{"signal actions", ask, plan};

} // namespace resource::signal_actions
