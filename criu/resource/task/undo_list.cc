#include "criu/resource/task/undo_list.hh"

#include "criu/kernel/io.hh"
#include "criu/kernel/namespaces.hh"

#include <algorithm>
#include <climits>
#include <fcntl.h>
#include <fmt/format.h>
#include <functional>
#include <sys/sem.h>
#include <sys/syscall.h>

namespace resource {
namespace {

constexpr size_t kMostSemaphores = 32000; // SEMMSL at its highest
constexpr size_t kMostSets = 32768;       // IPCMNI

union Argument {
    int value;
    semid_ds *state;
    seminfo *info;
};

Result<void> in_namespace_of(base::Pid member, const std::function<Result<void>()> &body) {
    const auto ours = kernel::read_link(AT_FDCWD, "/proc/self/ns/ipc"),
               theirs = kernel::read_link(AT_FDCWD, fmt::format("/proc/{}/ns/ipc", member.value).c_str());
    if (ours && theirs && *ours == *theirs)
        return body();
    const base::UniqueFd there = TRY(kernel::open_namespace(member, tree::NamespaceKind::Ipc));
    const int join[]{there.get()};
    return kernel::inside(join, body);
}

/// How many semaphores a set has; the kernel's list of adjustments does not say.
size_t size_of_set(int id) {
    semid_ds state{};
    return semctl(id, 0, IPC_STAT, Argument{.state = &state}) < 0 ? 0 : std::min(state.sem_nsems, kMostSemaphores);
}

Result<std::vector<int16_t>> adjustments(const KernelMemory &memory, uint64_t undo, size_t count) {
    std::vector<int16_t> values(count);
    const uint64_t at = TRY(memory.address_of(undo, "sem_undo", "semadj"));
    // Before Linux 5.17 there was a pointer; an array begins right behind the id of the set.
    const bool is_pointer =
        (at - undo) % sizeof(void *) == 0 && at - undo + sizeof(void *) <= TRY(memory.size_of("sem_undo"));
    TRY(memory.read(is_pointer ? TRY(memory.member(undo, "sem_undo", "semadj")) : at,
                    std::as_writable_bytes(std::span(values))));
    return values;
}

/// Addresses of what the list holds: one for each set.
Result<std::vector<uint64_t>> entries_of(const KernelMemory &memory, uint64_t list) {
    const uint64_t head = TRY(memory.address_of(list, "sem_undo_list", "list_proc")),
                   link = TRY(memory.address_of(0, "sem_undo", "list_proc"));
    std::vector<uint64_t> entries;
    for (uint64_t at = TRY(memory.member(head, "list_head", "next")); at != head && entries.size() < kMostSets;
         at = TRY(memory.member(at, "list_head", "next")))
        entries.push_back(at - link);
    return entries;
}

/// One change of one semaphore, which has to happen at once.
void plan_change(plan::ThreadPlan &plan, const char *what, uint32_t set, uint32_t number, int32_t by, bool undone) {
    sembuf change{};
    change.sem_num = static_cast<unsigned short>(number);
    change.sem_op = static_cast<short>(by);
    change.sem_flg = static_cast<short>(IPC_NOWAIT | (undone ? SEM_UNDO : 0));
    plan.call(plan::Stage::Actions, what, SYS_semop, {set, plan.data().add_value(change), 1});
}

} // namespace

bool has_semaphores(base::Pid member) {
    bool any = false;
    (void)in_namespace_of(member, [&]() -> Result<void> { // whoever cannot look has none that matter
        seminfo info{};
        any = semctl(0, 0, SEM_INFO, Argument{.info = &info}) >= 0 && info.semusz > 0;
        return {};
    });
    return any;
}

Result<std::vector<tree::SemaphoreUndo>> read_undo_list(const KernelMemory &memory, uint64_t list, base::Pid member) {
    std::vector<tree::SemaphoreUndo> found;
    const auto entries = TRY(entries_of(memory, list));
    if (entries.empty())
        return found;
    TRY(in_namespace_of(member, [&]() -> Result<void> {
        for (const uint64_t undo : entries) {
            const auto id = static_cast<int32_t>(TRY(memory.member(undo, "sem_undo", "semid")));
            const size_t count = id < 0 ? 0 : size_of_set(id); // -1: the set was removed
            auto values = TRY(adjustments(memory, undo, count));
            if (std::ranges::any_of(values, [](int16_t value) { return value != 0; }))
                found.push_back({static_cast<uint32_t>(id), std::move(values)});
        }
        return {};
    }));
    return found;
}

void write_undo(const tree::TaskFacts &task, img::ext_task_core *ext) {
    for (const tree::SemaphoreUndo &undo : task.sem_undo) {
        img::ext_sem_undo *entry = ext->add_sem_undo();
        entry->set_id(undo.set);
        for (const int16_t value : undo.adjustments)
            entry->add_adjustments(value);
    }
}

Result<void> plan_undo(plan::ThreadPlan &plan, const img::ext_task_core &ext, bool own) {
    for (const img::ext_sem_undo &undo : ext.sem_undo()) {
        if (static_cast<size_t>(undo.adjustments_size()) > kMostSemaphores || undo.id() > INT32_MAX)
            return base::bad_image("adjustments of an impossible set of semaphores");
        for (int number = 0; number < undo.adjustments_size(); number++) {
            const int32_t by = undo.adjustments(number);
            if (by < SHRT_MIN + 1 || by > SHRT_MAX)
                return base::bad_image("an impossible adjustment of a semaphore");
            const auto index = static_cast<uint32_t>(number);
            if (by > 0 && own)
                plan_change(plan, "semop, what is taken again", undo.id(), index, by, false);
            if (by)
                plan_change(plan, "semop with SEM_UNDO", undo.id(), index, -by, true);
            if (by < 0 && own)
                plan_change(plan, "semop, what was given again", undo.id(), index, by, false);
        }
    }
    return {};
}

} // namespace resource
