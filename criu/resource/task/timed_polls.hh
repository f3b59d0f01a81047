// The time that epoll_wait and epoll_pwait have left.
#pragma once

#include "criu/resource/file/hidden_state.hh"
#include "criu/resource/resource.hh"

#include <map>
#include <optional>
#include <span>

namespace resource {

/// What threads wait for, seen before they are stopped.
class TimedPolls {
public:
    /// Looks at threads that are traced and still run.
    void look(std::span<const base::Pid> threads);
    /// Fills ThreadFacts::time_left_ns, now that they are stopped, of those that have not moved in between.
    void settle(std::vector<tree::TaskFacts> &tasks) const;
    /// Ends the looking: what has opened the kernel's memory for it serves the rest of the dump.
    void hand_over_memory(FileDumpContext &context);
    /// Lets those that live on beside their images do so with the time left, too.
    Result<void> limit(const std::vector<tree::TaskFacts> &tasks) const;

private:
    struct Sleep {
        uint64_t task = 0; ///< address of its task_struct
        uint64_t switches = 0;
        int64_t end_ns = 0; ///< CLOCK_MONOTONIC
    };
    Result<void> read(const std::map<int, uint64_t> &waiting);
    std::optional<uint64_t> left_of(const tree::ThreadFacts &thread) const;

    std::optional<KernelMemory> memory_;
    std::map<int, Sleep> sleeps_;
};

/// On the restore: lets a call with a time left be made with that limit.
void limit_poll(compel::Registers &registers, const img::ext_thread_core &ext);

} // namespace resource
