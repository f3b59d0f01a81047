// Whom a thread traces the kernel has in a list.
#include "criu/resource/task/traced_threads.hh"

namespace resource {
namespace {

/// The number of a task in a namespace `level` namespaces down.
Result<int> number_of(const KernelMemory &memory, TaskAddress pid, uint64_t level) {
    const TaskAddress numbers = TRY(memory.address_of(pid, "pid", "numbers"));
    return static_cast<int>(TRY(memory.member(numbers + level * TRY(memory.size_of("upid")), "upid", "nr")));
}

} // namespace

Result<std::map<int, TaskAddress>> traced_threads(const KernelMemory &memory) {
    constexpr size_t kMost = 1 << 22; // PID_MAX_LIMIT
    const TaskAddress self = TRY(memory.current_task());
    const uint64_t level = TRY(memory.member(TRY(memory.member(self, "task_struct", "thread_pid")), "pid", "level"));
    const TaskAddress list = TRY(memory.address_of(self, "task_struct", "ptraced"));
    const uint64_t entry = TRY(memory.address_of(0, "task_struct", "ptrace_entry"));
    std::map<int, TaskAddress> found;
    for (TaskAddress at = TRY(memory.member(list, "list_head", "next")); at != list && found.size() < kMost;
         at = TRY(memory.member(at, "list_head", "next"))) {
        const TaskAddress task = at - entry;
        found[TRY(number_of(memory, TRY(memory.member(task, "task_struct", "thread_pid")), level))] = task;
    }
    return found;
}

} // namespace resource
