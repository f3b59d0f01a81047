// POSIX timers (timer_create(2)). /proc/PID/timers tells what each is; the time left and the overrun count only the
// process itself can ask for. Ids matter, for programs keep them: PR_TIMER_CREATE_RESTORE_IDS (6.16) lets us choose,
// older kernels count upwards, so ids are created and deleted until the right one comes (OpKind::TimerCreate).
#include "criu/resource/task/resources.hh"

#include <algorithm>
#include <csignal>
#include <fmt/format.h>
#include <sys/syscall.h>
#include <time.h>

namespace resource::posix_timers {
namespace {

/// /proc tells a thread's id as we see it. 0 for one that has ended.
base::VPid image_id(const tree::TaskFacts &task, base::Pid tid) {
    auto thread = std::ranges::find(task.threads, tid, &tree::ThreadFacts::tid);
    return thread == task.threads.end() ? base::VPid() : thread->vtid;
}

constexpr uint64_t kRestoreIds = 77; // PR_TIMER_CREATE_RESTORE_IDS

// The kernel's struct sigevent, 64 bytes.
struct KernelSigevent {
    uint64_t value;
    int32_t signo, notify, tid;
    uint8_t pad[44];
};
static_assert(sizeof(KernelSigevent) == 64);

uint32_t notify_of(const parse::PosixTimer &timer) {
    return static_cast<uint32_t>(timer.notify) | (timer.to_thread ? SIGEV_THREAD_ID : 0);
}

Answer ask(compel::Batch &batch, const tree::TaskFacts &facts) {
    uint64_t out = batch.out(facts.timers.size() * sizeof(itimerspec));
    size_t first = batch.calls();
    for (size_t i = 0; i < facts.timers.size(); i++) {
        auto id = static_cast<uint64_t>(facts.timers[i].id);
        batch.call(SYS_timer_gettime, {id, out + i * sizeof(itimerspec)});
        batch.call(SYS_timer_getoverrun, {id});
    }
    return [=, &facts](const compel::Batch &done, img::core_entry &core) -> Result<void> {
        for (size_t i = 0; i < facts.timers.size(); i++) {
            const parse::PosixTimer &timer = facts.timers[i];
            TRY_CTX(must(done, first + 2 * i, "timer_gettime"), fmt::format("POSIX timer {}", timer.id));
            auto value = done.value<itimerspec>(out + i * sizeof(itimerspec));
            img::posix_timer_entry *entry = core.mutable_tc()->mutable_timers()->add_posix();
            entry->set_it_id(static_cast<uint32_t>(timer.id));
            entry->set_clock_id(static_cast<uint32_t>(timer.clock_id));
            entry->set_si_signo(static_cast<uint32_t>(timer.signo));
            entry->set_it_sigev_notify(notify_of(timer));
            entry->set_sival_ptr(timer.sigval);
            entry->set_overrun(static_cast<uint32_t>(std::max<int64_t>(0, done.result(first + 2 * i + 1))));
            entry->set_isec(static_cast<uint64_t>(value.it_interval.tv_sec));
            entry->set_insec(static_cast<uint64_t>(value.it_interval.tv_nsec));
            entry->set_vsec(static_cast<uint64_t>(value.it_value.tv_sec));
            entry->set_vnsec(static_cast<uint64_t>(value.it_value.tv_nsec));
            if (timer.to_thread)
                entry->set_notify_thread_id(
                    static_cast<uint32_t>(image_id(facts, base::Pid(static_cast<pid_t>(timer.target))).value));
        }
        return {};
    };
}

Result<void> plan_one(plan::ThreadPlan &plan, const img::posix_timer_entry &entry) {
    constexpr uint32_t kMaxId = 0x7fffffff;
    if (entry.it_id() > kMaxId || entry.si_signo() > 64)
        return base::bad_image("core: a POSIX timer has an impossible id or signal");
    KernelSigevent event{};
    event.value = entry.sival_ptr();
    event.signo = static_cast<int32_t>(entry.si_signo());
    event.notify = static_cast<int32_t>(entry.it_sigev_notify());
    if (event.notify & SIGEV_THREAD_ID)
        event.tid = entry.notify_thread_id();
    // Threads must exist before a timer can name them as its target.
    plan.op(Stage::Reap, "timer_create", agent::OpKind::TimerCreate,
            {entry.clock_id(), plan.data().add_value(event), entry.it_id()});
    itimerspec value{};
    value.it_interval = {static_cast<time_t>(entry.isec()), static_cast<long>(entry.insec())};
    value.it_value = {static_cast<time_t>(entry.vsec()), static_cast<long>(entry.vnsec())};
    if (value.it_value.tv_sec || value.it_value.tv_nsec)
        plan.call(Stage::Arm, "timer_settime", SYS_timer_settime, {entry.it_id(), 0, plan.data().add_value(value), 0});
    return {};
}

Result<void> plan(plan::ThreadPlan &plan, const img::core_entry &core) {
    std::vector<const img::posix_timer_entry *> timers;
    for (const auto &entry : core.tc().timers().posix())
        timers.push_back(&entry);
    if (timers.empty())
        return {};
    std::sort(timers.begin(), timers.end(), [](auto *a, auto *b) { return a->it_id() < b->it_id(); });
    plan.try_call(Stage::Reap, "choose timer ids", SYS_prctl, {kRestoreIds, 1, 0, 0, 0});
    for (const auto *entry : timers)
        TRY(plan_one(plan, *entry));
    plan.try_call(Stage::Reap, "choose timer ids no more", SYS_prctl, {kRestoreIds, 0, 0, 0, 0});
    return {};
}

} // namespace

extern const TaskResource kResource{"POSIX timers", ask, plan};

} // namespace resource::posix_timers
