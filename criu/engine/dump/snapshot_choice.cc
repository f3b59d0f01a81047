#include "criu/engine/dump/snapshot_choice.hh"

#include "criu/engine/dump/collect.hh"
#include "criu/engine/dump/memory_room.hh"
#include "criu/engine/dump/tracer_process.hh"
#include "criu/kernel/proc_dir.hh"

#include <algorithm>
#include <fcntl.h>
#include <fmt/format.h>
#include <sstream>
#include <sys/syscall.h>
#include <sys/wait.h>

namespace dump {
namespace {

std::string text_of_proc(const std::string &path) {
    return kernel::read_file(AT_FDCWD, path.c_str()).value_or(std::string());
}

/// Where the kernel promises no more memory than there is, a copy needs a promise for all that its task may write.
std::string obstacle_of_commit_limit(const std::vector<tree::TaskFacts> &tasks, std::string_view meminfo) {
    if (!text_of_proc("/proc/sys/vm/overcommit_memory").starts_with('2'))
        return {};
    uint64_t needed = 0;
    for (const tree::TaskFacts &task : tasks)
        if (!task.zombie && !task.memory_of.value)
            needed += bytes_of(text_of_proc(fmt::format("/proc/{}/status", task.voice.value)), "VmData:");
    const uint64_t most = bytes_of(meminfo, "CommitLimit:"), used = bytes_of(meminfo, "Committed_AS:");
    const uint64_t left = most - std::min(most, used);
    return needed > left ? fmt::format("copies would need a commitment of {} MiB, and {} are left "
                                       "(vm.overcommit_memory is 2)",
                                       needed >> 20, left >> 20)
                         : std::string();
}

/// Options of the wait(2) that a thread is in; 0 for none.
uint32_t wait_options(base::Pid pid, base::Pid tid) {
    std::istringstream words(text_of_proc(fmt::format("/proc/{}/task/{}/syscall", pid.value, tid.value)));
    long number = -1;
    uint64_t arguments[6] = {};
    if (!(words >> number) || (number != SYS_wait4 && number != SYS_waitid))
        return 0;
    for (uint64_t &argument : arguments)
        words >> std::hex >> argument;
    return static_cast<uint32_t>(number == SYS_wait4 ? arguments[2] : arguments[3]);
}

bool waits_for_all(base::Pid pid) {
    const auto folder = kernel::ProcDir::open(pid);
    const auto threads = folder ? folder->list_tasks() : Result<std::vector<base::Pid>>();
    return threads && std::ranges::any_of(*threads, [&](base::Pid tid) {
               return wait_options(pid, tid) & static_cast<uint32_t>(__WALL | __WCLONE);
           });
}

/// As much of the facts as tells whether it can have a twin.
std::optional<tree::TaskFacts> facts_of_running(base::Pid pid) {
    auto status = parse::parse_status(text_of_proc(fmt::format("/proc/{}/status", pid.value)));
    if (!status || !status->has_mm)
        return std::nullopt;
    tree::TaskFacts facts;
    facts.pid = facts.voice = pid;
    facts.vpid = base::VPid(status->ns_pid.empty() ? pid.value : status->ns_pid.back());
    facts.stat.comm = status->name;
    tree::ThreadFacts leader;
    leader.tid = pid, leader.vtid = facts.vpid;
    leader.status = std::move(*status);
    facts.threads.push_back(std::move(leader));
    return facts;
}

} // namespace

uint64_t resident(const tree::TaskFacts &task) {
    return task.zombie ? 0 : task.status().vm_rss_kb << 10;
}

std::string obstacle_to_twins(const engine::DumpRequest &request, const std::vector<tree::TaskFacts> &tasks) {
    const std::string meminfo = text_of_proc("/proc/meminfo");
    uint64_t needed = 0, room = bytes_of(meminfo, "MemAvailable:");
    uint64_t processes = UINT64_MAX, more_processes = 1; // the one who makes a copy, and the copies
    for (const tree::TaskFacts &task : tasks) {
        if (task.zombie || task.memory_of.value)
            continue;
        if (task.vpid.value == 1)
            return "the tree holds the first process of a pid namespace, which would be told of the copies' end";
        if (std::ranges::any_of(task.threads, [](const auto &thread) { return thread.status.seccomp != 0; }))
            return fmt::format("{} is sandboxed (seccomp)", name_of(task));
        needed += resident(task);
        room = std::min(room, memory_left(task));
        processes = std::min(processes, processes_left(task));
        more_processes++;
    }
    if (processes < more_processes)
        return fmt::format("{} further processes do not fit into its control group (pids.max)", more_processes);
    // At worst every page is written while the copies are there.
    if (request.snapshot_memory)
        room = std::min(room, *request.snapshot_memory);
    if (needed > room)
        return fmt::format("the copies could take {} MiB, and there are {}", needed >> 20, room >> 20);
    return obstacle_of_commit_limit(tasks, meminfo);
}

TreeSurvey survey_tree(const engine::DumpRequest &request) {
    constexpr uint64_t kMayHoldHugePages = 8u << 20;
    TreeSurvey found;
    std::vector<tree::TaskFacts> tasks;
    std::vector<base::Pid> pids{request.root};
    for (size_t i = 0; i < pids.size(); i++) {
        const auto children = kernel::children_of(pids[i]);
        pids.insert(pids.end(), children.begin(), children.end());
        auto task = facts_of_running(pids[i]);
        if (!task)
            continue;
        found.resident += resident(*task);
        if (resident(*task) >= kMayHoldHugePages)
            found.huge += bytes_of(text_of_proc(fmt::format("/proc/{}/smaps_rollup", pids[i].value)), "AnonHugePages:");
        found.waits_for_all |= waits_for_all(pids[i]);
        found.needs_guard |= needs_living_tracer(pids[i]);
        tasks.push_back(std::move(*task));
    }
    found.obstacle = obstacle_to_twins(request, tasks);
    return found;
}

SnapshotWay choose_snapshot(const engine::DumpRequest &request, bool has_listeners, const TreeSurvey &tree) {
    using engine::SnapshotMethod;
    // To fork copies page tables, which takes as long as a good part of a second for many gigabytes of small pages.
    constexpr uint64_t kManySmallPages = 1u << 30;
    if (!request.leave_running || request.leave_stopped || request.lazy)
        return SnapshotWay::InStop;
    switch (request.snapshot) {
    case SnapshotMethod::Off:
        return SnapshotWay::InStop;
    case SnapshotMethod::Fork:
        return SnapshotWay::Fork;
    case SnapshotMethod::Precopy:
        return SnapshotWay::Precopy;
    case SnapshotMethod::Auto:
        break;
    }
    if (tree.resident < kWorthASnapshot || has_listeners)
        return SnapshotWay::InStop;
    const uint64_t small = tree.resident - std::min(tree.resident, tree.huge);
    const bool forks = tree.obstacle.empty() && !tree.waits_for_all && small <= kManySmallPages;
    return forks ? SnapshotWay::Fork : SnapshotWay::Precopy;
}

} // namespace dump
