// Switches of a whole process: subreaper, dumpable, transparent huge pages, memory merging, write-xor-execute, I/O
// flusher, personality, membarrier registrations, core dump filter, OOM adjustment, login uid.
//
// Some can be read from /proc, most only by the process itself. Those that CRIU does not know are our extension.
#include "criu/resource/task/resources.hh"

#include <csignal>
#include <cstdlib>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#define PR_GET_MDWE 66
#endif
#ifndef PR_SET_MEMORY_MERGE
#define PR_SET_MEMORY_MERGE 67
#define PR_GET_MEMORY_MERGE 68
#endif
#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#define PR_GET_IO_FLUSHER 58
#endif

namespace resource::process_attributes {
namespace {

constexpr uint64_t kQueryPersonality = 0xffffffff;
constexpr uint64_t kMembarrierGetRegistrations = 1 << 9; // MEMBARRIER_CMD_GET_REGISTRATIONS
constexpr uint32_t kMembarrierPrivate = 1 << 4 | 1 << 6; // ..._REGISTER_PRIVATE_EXPEDITED, ..._SYNC_CORE
constexpr uint32_t kMceKillDefault = 2;                  // PR_MCE_KILL_DEFAULT
constexpr uint64_t kMceKillSet = 1;
constexpr int kMceKill = 33, kMceKillGet = 34;

// CRIU reads /proc/PID/personality, which is hexadecimal, as a decimal number up to the first letter: what its images
// say is to be read the same way. (It never restores it.)
void write_personality(uint32_t personality, img::task_core_entry &task) {
    task.set_personality(static_cast<uint32_t>(atol(fmt::format("{:08x}", personality).c_str())));
    if (personality)
        task.mutable_ext()->set_personality(personality);
}

uint32_t read_personality(const img::task_core_entry &task) {
    if (task.ext().has_personality() || !task.personality())
        return task.ext().personality();
    constexpr unsigned long kKnown = 0x0fff00ff; // flags and the low byte, which is the execution domain
    const unsigned long digits = strtoul(std::to_string(task.personality()).c_str(), nullptr, 16);
    return digits & ~kKnown ? task.personality() : static_cast<uint32_t>(digits);
}

Answer ask(compel::Batch &batch, const tree::TaskFacts &facts) {
    uint64_t subreaper = batch.out(4);
    size_t first = batch.call(SYS_prctl, {PR_GET_CHILD_SUBREAPER, subreaper, 0, 0, 0});
    size_t personality = batch.call(SYS_personality, {kQueryPersonality});
    size_t membarrier = batch.call(SYS_membarrier, {kMembarrierGetRegistrations, 0, 0});
    size_t mdwe = batch.call(SYS_prctl, {PR_GET_MDWE, 0, 0, 0, 0});
    size_t merge = batch.call(SYS_prctl, {PR_GET_MEMORY_MERGE, 0, 0, 0, 0});
    size_t flusher = batch.call(SYS_prctl, {PR_GET_IO_FLUSHER, 0, 0, 0, 0});
    size_t mce = batch.call(SYS_prctl, {kMceKillGet, 0, 0, 0, 0});
    return [=, &facts](const compel::Batch &done, img::core_entry &core) -> Result<void> {
        TRY(must(done, first, "prctl(PR_GET_CHILD_SUBREAPER)"));
        img::task_core_entry *task = core.mutable_tc();
        img::ext_task_core *ext = task->mutable_ext();
        task->set_child_subreaper(done.value<uint32_t>(subreaper) != 0);
        write_personality(static_cast<uint32_t>(done.result(personality)), *task);
        // Kernels before 6.3 do not tell: there all processes are registered, which is harmless, while one that is and
        // should be fails on its next barrier.
        if (done.result(membarrier) != 0)
            task->set_membarrier_registration_mask(
                done.result(membarrier) < 0 ? kMembarrierPrivate : static_cast<uint32_t>(done.result(membarrier)));
        task->set_oom_score_adj(facts.oom_score_adj);
        if (facts.loginuid)
            task->set_loginuid(*facts.loginuid);
        if (done.result(mdwe) > 0)
            ext->set_mdwe(static_cast<uint32_t>(done.result(mdwe)));
        if (done.result(merge) > 0)
            ext->set_memory_merge(true);
        if (done.result(flusher) > 0)
            ext->set_io_flusher(true);
        if (done.result(mce) >= 0 && done.result(mce) != kMceKillDefault)
            ext->set_mce_kill(static_cast<uint32_t>(done.result(mce)));
        if (facts.coredump_filter)
            ext->set_coredump_filter(*facts.coredump_filter);
        if (facts.autogroup_nice.value_or(0))
            ext->set_autogroup_nice(*facts.autogroup_nice);
        if (facts.stat.exit_signal != SIGCHLD)
            ext->set_exit_signal(static_cast<uint32_t>(facts.stat.exit_signal));
        if (facts.parent_vthread.value)
            ext->set_parent_thread(static_cast<uint32_t>(facts.parent_vthread.value));
        if (ext->ByteSizeLong() == 0)
            task->clear_ext();
        return {};
    };
}

// Registered one by one; the numbers are the commands themselves.
void plan_membarrier(plan::ThreadPlan &plan, uint32_t mask) {
    for (uint32_t bit = 1; bit; bit <<= 1)
        if (mask & bit)
            plan.call(Stage::Actions, "membarrier", SYS_membarrier, {bit, 0, 0});
}

Result<void> plan(plan::ThreadPlan &plan, const img::core_entry &core) {
    const img::task_core_entry &task = core.tc();
    const img::ext_task_core &ext = task.ext();
    if (task.child_subreaper())
        plan.call(Stage::Actions, "prctl(PR_SET_CHILD_SUBREAPER)", SYS_prctl, {PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0});
    plan_inherited_attributes(plan, core);
    plan_membarrier(plan, task.membarrier_registration_mask());
    if (ext.memory_merge())
        plan.call(Stage::Actions, "prctl(PR_SET_MEMORY_MERGE)", SYS_prctl, {PR_SET_MEMORY_MERGE, 1, 0, 0, 0});
    if (ext.mdwe()) // after every mapping is as it must be: it cannot be taken back
        plan.call(Stage::Creds, "prctl(PR_SET_MDWE)", SYS_prctl, {PR_SET_MDWE, ext.mdwe(), 0, 0, 0});
    return {};
}

} // namespace

extern const TaskResource kResource{"process attributes", ask, plan};

} // namespace resource::process_attributes

namespace resource {

void plan_inherited_attributes(plan::ThreadPlan &plan, const img::core_entry &leader) {
    const img::task_core_entry &task = leader.tc();
    const img::ext_task_core &ext = task.ext();
    if (const uint32_t personality = process_attributes::read_personality(task))
        plan.call(Stage::Actions, "personality", SYS_personality, {personality});
    if (ext.io_flusher())
        plan.call(Stage::Actions, "prctl(PR_SET_IO_FLUSHER)", SYS_prctl, {PR_SET_IO_FLUSHER, 1, 0, 0, 0});
    if (ext.has_mce_kill())
        plan.call(Stage::Actions, "prctl(PR_MCE_KILL)", SYS_prctl,
                  {static_cast<uint64_t>(process_attributes::kMceKill), process_attributes::kMceKillSet, ext.mce_kill(),
                   0, 0});
}

} // namespace resource
