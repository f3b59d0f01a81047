// How a thread is scheduled: policy, priority, nice value, deadline parameters, CPU affinity, I/O priority, timer
// slack, memory policy. CRIU keeps the first three; the others are our extension.
#include "criu/resource/bit_mask.hh"
#include "criu/resource/task/resources.hh"

#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

namespace resource::scheduling {
namespace {

constexpr size_t kMaskBytes = 1024; // 8192 CPUs or nodes
constexpr uint64_t kWhoProcess = 1; // IOPRIO_WHO_PROCESS
constexpr uint32_t kDeadline = 6;   // SCHED_DEADLINE
constexpr uint64_t kResetOnFork = 1;
constexpr int64_t kNiceOffset = 20; // the system call, unlike libc's function, answers 20 - nice

// struct sched_attr of sched_setattr(2), first published size.
struct SchedAttr {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
};
static_assert(sizeof(SchedAttr) == 48);

void write(const SchedAttr &attr, int32_t nice, img::thread_core_entry *thread) {
    img::ext_thread_core *ext = thread->mutable_ext();
    thread->set_sched_nice(nice);
    // As sched_getscheduler(2) tells it, and CRIU writes it.
    thread->set_sched_policy(attr.policy | (attr.flags & kResetOnFork ? SCHED_RESET_ON_FORK : 0));
    if (attr.policy == SCHED_FIFO || attr.policy == SCHED_RR)
        thread->set_sched_prio(attr.priority);
    if (attr.policy == kDeadline || attr.runtime) {
        ext->set_sched_runtime_ns(attr.runtime);
        ext->set_sched_deadline_ns(attr.deadline);
        ext->set_sched_period_ns(attr.period);
    }
    if (attr.flags)
        ext->set_sched_flags(attr.flags);
}

Answer ask(compel::Batch &batch, const tree::TaskFacts &, const tree::ThreadFacts &) {
    uint64_t attr = batch.out(sizeof(SchedAttr)), cpus = batch.out(kMaskBytes), mode = batch.out(8),
             nodes = batch.out(kMaskBytes);
    size_t first = batch.call(SYS_sched_getattr, {0, attr, sizeof(SchedAttr), 0});
    size_t nice = batch.call(SYS_getpriority, {PRIO_PROCESS, 0});
    batch.call(SYS_sched_getaffinity, {0, kMaskBytes, cpus});
    batch.call(SYS_ioprio_get, {kWhoProcess, 0});
    batch.call(SYS_prctl, {PR_GET_TIMERSLACK, 0, 0, 0, 0});
    batch.call(SYS_get_mempolicy, {mode, nodes, kMaskBytes * 8, 0, 0});
    return [=](const compel::Batch &done, img::core_entry &core) -> Result<void> {
        TRY(must(done, first, "sched_getattr"));
        TRY(must(done, nice, "getpriority"));
        // sched_getattr(2) does not tell the nice value of a real-time thread, which it has again afterwards.
        write(done.value<SchedAttr>(attr), static_cast<int32_t>(kNiceOffset - done.result(nice)),
              core.mutable_thread_core());
        img::ext_thread_core *ext = core.mutable_thread_core()->mutable_ext();
        if (done.result(first + 2) > 0)
            ext->set_affinity(trim_mask(done.bytes(cpus, static_cast<size_t>(done.result(first + 2)))));
        if (done.result(first + 3) > 0)
            ext->set_ioprio(static_cast<uint32_t>(done.result(first + 3)));
        if (done.result(first + 4) > 0)
            ext->set_timerslack_ns(static_cast<uint64_t>(done.result(first + 4)));
        if (done.result(first + 5) == 0 && done.value<uint32_t>(mode)) {
            ext->set_numa_mode(done.value<uint32_t>(mode));
            ext->set_numa_nodes(trim_mask(done.bytes(nodes, kMaskBytes)));
        }
        return {};
    };
}

Result<void> plan(plan::ThreadPlan &plan, const img::core_entry &core) {
    const img::thread_core_entry &thread = core.thread_core();
    const img::ext_thread_core &ext = thread.ext();
    if (ext.affinity().size() > kMaskBytes || ext.numa_nodes().size() > kMaskBytes)
        return base::bad_image("core: a CPU or node mask is too long");
    // CPUs that do not exist here are ignored by the kernel; if none is left the thread may run anywhere.
    if (!ext.affinity().empty())
        plan.try_call(Stage::Context, "sched_setaffinity", SYS_sched_setaffinity,
                      {0, (ext.affinity().size() + 7) / 8 * 8, mask_data(plan, ext.affinity())});
    if (thread.has_sched_policy() || thread.sched_nice()) {
        SchedAttr attr{};
        attr.size = sizeof attr;
        attr.policy = thread.sched_policy() & ~static_cast<uint32_t>(SCHED_RESET_ON_FORK);
        attr.nice = thread.sched_nice();
        attr.priority = thread.sched_prio();
        attr.flags = ext.sched_flags() & kResetOnFork;
        if (attr.policy == kDeadline)
            attr.flags = ext.sched_flags();
        if (thread.sched_policy() & SCHED_RESET_ON_FORK)
            attr.flags |= kResetOnFork;
        if (attr.policy == kDeadline) {
            attr.runtime = ext.sched_runtime_ns();
            attr.deadline = ext.sched_deadline_ns();
            attr.period = ext.sched_period_ns();
        }
        plan.call(Stage::Context, "sched_setattr", SYS_sched_setattr, {0, plan.data().add_value(attr), 0});
        // Of these sched_setattr(2) takes no nice value: they would keep that of the tool.
        if (attr.policy != SCHED_OTHER && attr.policy != SCHED_BATCH)
            plan.call(Stage::Context, "setpriority", SYS_setpriority,
                      {PRIO_PROCESS, 0, static_cast<uint64_t>(int64_t{attr.nice})});
    }
    if (ext.has_ioprio())
        plan.call(Stage::Context, "ioprio_set", SYS_ioprio_set, {kWhoProcess, 0, ext.ioprio()});
    // Slack belongs to ordinary threads only: real-time ones report 0 and take none.
    if (ext.timerslack_ns())
        plan.call(Stage::Context, "prctl(PR_SET_TIMERSLACK)", SYS_prctl,
                  {PR_SET_TIMERSLACK, ext.timerslack_ns(), 0, 0, 0});
    if (ext.has_numa_mode())
        plan.try_call(Stage::Context, "set_mempolicy", SYS_set_mempolicy,
                      {ext.numa_mode(), mask_data(plan, ext.numa_nodes()), ext.numa_nodes().size() * 8 + 1});
    return {};
}

} // namespace

extern const ThreadResource kResource{"scheduling", ask, plan};

} // namespace resource::scheduling
