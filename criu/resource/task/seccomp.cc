// Seccomp: the strict mode and the chain of filters of a thread.
//
// A thread's filters are read from outside by PTRACE_SECCOMP_GET_FILTER (needs CAP_SYS_ADMIN), newest last. Chains that
// threads share are stored once: the image holds a forest, each filter naming its predecessor, each thread its newest.
// On restore each thread installs its chain oldest first; the coordinator suspends seccomp for the tasks while they are
// traced, so that no filter stops our own calls. The filters come before the credentials: a container engine gives its
// filter while it still has CAP_SYS_ADMIN, which the task does not have any more.
#include "criu/resource/task/resources.hh"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

namespace resource::seccomp {
namespace {

Answer ask(compel::Batch &, const tree::TaskFacts &, const tree::ThreadFacts &facts) {
    return [&facts](const compel::Batch &, img::core_entry &core) -> Result<void> {
        if (facts.status.seccomp == SECCOMP_MODE_STRICT)
            core.mutable_thread_core()->set_seccomp_mode(img::strict);
        if (facts.status.seccomp == SECCOMP_MODE_FILTER) {
            core.mutable_thread_core()->set_seccomp_mode(img::filter);
            core.mutable_thread_core()->set_seccomp_filter(facts.seccomp_filter);
        }
        return {};
    };
}

// Filters need the image that holds them: planned by plan_seccomp_filters() below. Strict mode needs nothing.
Result<void> plan(plan::ThreadPlan &plan, const img::core_entry &core) {
    if (core.thread_core().seccomp_mode() == img::strict)
        plan.call(Stage::Creds, "prctl(PR_SET_SECCOMP, strict)", SYS_prctl,
                  {PR_SET_SECCOMP, SECCOMP_MODE_STRICT, 0, 0, 0});
    return {};
}

} // namespace

extern const ThreadResource kResource{"seccomp", ask, plan};

} // namespace resource::seccomp

namespace resource {

Result<void> plan_seccomp_filters(plan::ThreadPlan &plan, const img::core_entry &core, const img::seccomp_entry &all,
                                  bool for_all) {
    if (core.thread_core().seccomp_mode() != img::filter)
        return {};
    std::vector<const img::seccomp_filter *> chain;
    for (uint32_t at = core.thread_core().seccomp_filter();;) {
        if (at >= static_cast<uint32_t>(all.seccomp_filters_size()))
            return base::bad_image("seccomp.img: a thread names a filter that is not there");
        if (chain.size() > static_cast<size_t>(all.seccomp_filters_size()))
            return base::bad_image("seccomp.img: filters name each other in a circle");
        chain.push_back(&all.seccomp_filters(static_cast<int>(at)));
        if (!chain.back()->has_prev())
            break;
        at = chain.back()->prev();
    }
    for (auto it = chain.rbegin(); it != chain.rend(); ++it) {
        const std::string &code = (*it)->filter();
        if (code.size() % sizeof(sock_filter) || code.empty() || code.size() / sizeof(sock_filter) > BPF_MAXINSNS)
            return base::bad_image("seccomp.img: a filter of impossible length");
        struct {
            uint16_t length, pad[3];
            uint64_t code;
        } program{static_cast<uint16_t>(code.size() / sizeof(sock_filter)),
                  {},
                  plan.data().add(std::as_bytes(std::span(code)))};
        plan.call(Stage::Filters, "seccomp(SECCOMP_SET_MODE_FILTER)", SYS_seccomp,
                  {SECCOMP_SET_MODE_FILTER, (*it)->flags() | (for_all ? SECCOMP_FILTER_FLAG_TSYNC : 0),
                   plan.data().add_value(program)});
    }
    return {};
}

} // namespace resource
