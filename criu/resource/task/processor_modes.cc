// What a thread has asked of the processor for itself: whether it may read the time stamp counter, and which kinds of
// speculation are off; and whether its system calls are signals (syscall user dispatch), which the coordinator sets
// when no call of ours is left to make. CRIU knows none of it.
#include "criu/resource/task/resources.hh"

#include <sys/prctl.h>
#include <sys/syscall.h>

namespace resource::processor_modes {
namespace {

/// A kind of speculation, the state that threads start with, and where the images have it.
struct Speculation {
    uint64_t which;
    uint32_t initial;
    void (img::ext_thread_core::*set)(uint32_t);
    uint32_t (img::ext_thread_core::*get)() const;
};
constexpr std::array kSpeculations{
    Speculation{PR_SPEC_STORE_BYPASS, PR_SPEC_ENABLE, &img::ext_thread_core::set_speculation_store_bypass,
                &img::ext_thread_core::speculation_store_bypass},
    Speculation{PR_SPEC_INDIRECT_BRANCH, PR_SPEC_ENABLE, &img::ext_thread_core::set_speculation_indirect_branch,
                &img::ext_thread_core::speculation_indirect_branch},
    Speculation{PR_SPEC_L1D_FLUSH, PR_SPEC_DISABLE, &img::ext_thread_core::set_speculation_l1d_flush,
                &img::ext_thread_core::speculation_l1d_flush},
};

Answer ask(compel::Batch &batch, const tree::TaskFacts &, const tree::ThreadFacts &facts) {
    const uint64_t tsc = batch.out(sizeof(uint32_t));
    const size_t first = batch.call(SYS_prctl, {PR_GET_TSC, tsc, 0, 0, 0});
    for (const Speculation &kind : kSpeculations)
        batch.call(SYS_prctl, {PR_GET_SPECULATION_CTRL, kind.which, 0, 0, 0});
    return [=, &facts](const compel::Batch &done, img::core_entry &core) -> Result<void> {
        img::ext_thread_core *ext = core.mutable_thread_core()->mutable_ext();
        if (done.result(first) == 0 && done.value<uint32_t>(tsc) != PR_TSC_ENABLE)
            ext->set_tsc_mode(done.value<uint32_t>(tsc));
        for (size_t i = 0; i < kSpeculations.size(); i++) {
            const int64_t answer = done.result(first + 1 + i);
            const auto state = static_cast<uint32_t>(answer & ~int64_t{PR_SPEC_PRCTL});
            if (answer > 0 && (answer & PR_SPEC_PRCTL) && state != kSpeculations[i].initial)
                (ext->*kSpeculations[i].set)(state);
        }
        if (facts.dispatch) {
            ext->set_sud_mode(facts.dispatch->mode);
            ext->set_sud_offset(facts.dispatch->offset);
            ext->set_sud_len(facts.dispatch->len);
            ext->set_sud_selector(facts.dispatch->selector);
        }
        return {};
    };
}

Result<void> plan(plan::ThreadPlan &plan, const img::core_entry &core) {
    const img::ext_thread_core &ext = core.thread_core().ext();
    // Not every processor has what it takes, and one without the flaw needs no switch.
    for (const Speculation &kind : kSpeculations)
        if (const uint32_t state = (ext.*kind.get)())
            plan.try_call(Stage::Creds, "prctl(PR_SET_SPECULATION_CTRL)", SYS_prctl,
                          {PR_SET_SPECULATION_CTRL, kind.which, state, 0, 0});
    if (ext.has_tsc_mode())
        plan.call(Stage::Final, "prctl(PR_SET_TSC)", SYS_prctl, {PR_SET_TSC, ext.tsc_mode(), 0, 0, 0});
    return {};
}

} // namespace

extern const ThreadResource kResource{"processor modes", ask, plan};

} // namespace resource::processor_modes

namespace resource {

std::optional<compel::SyscallDispatch> read_dispatch(const img::core_entry &core) {
    const img::ext_thread_core &ext = core.thread_core().ext();
    if (!ext.sud_mode())
        return std::nullopt;
    return compel::SyscallDispatch{ext.sud_mode(), ext.sud_selector(), ext.sud_offset(), ext.sud_len()};
}

} // namespace resource
