// What an interrupted system call has left of its time limit.
#pragma once

#include "compel/remote_memory.hh"
#include "criu/resource/file/hidden_state.hh"
#include "criu/resource/task/call_view.hh"
#include "criu/resource/task/limited_call.hh"

namespace resource {

/// A call that went into the kernel's restart block: nanosleep, clock_nanosleep, poll, or futex with a relative limit.
struct InterruptedWait {
    enum class Kind { Sleep, Poll, Futex };
    Kind kind{};
    uint64_t asked_ns = 0; ///< the whole time
    uint64_t rest_at = 0;  ///< where the program wants to know the time left; 0: nowhere
    TimeWidth width = TimeWidth::Wide;
};

/// Nanoseconds in a timespec of the program; nothing where there is no proper one.
std::optional<uint64_t> read_time(const compel::RemoteMemory &memory, uint64_t address, TimeWidth width);

/// Nothing where the thread is in no such call. Reads the program's memory.
std::optional<InterruptedWait> interrupted_wait(const tree::ThreadFacts &thread, const compel::RemoteMemory &memory);

/// Fills ThreadFacts::time_left_ns where there is something to say. What cannot be found out is logged, once.
void find_time_left(FileDumpContext &context, std::vector<tree::TaskFacts> &tasks);

/// The fields of the image, for a thread whose call was cut off.
void write_time_left(const tree::ThreadFacts &thread, img::ext_thread_core *ext);

} // namespace resource
