// The restore of what an interrupted system call had left of its time limit.
#pragma once

#include "criu/resource/resource.hh"
#include "criu/resource/task/call_view.hh"

#include <array>
#include <ctime>
#include <optional>

namespace resource {

/// A call that a thread makes before it goes on, only to be interrupted in it: the kernel remembers then when it ends.
struct LimitedCall {
    uint64_t number = 0;
    std::array<uint64_t, 6> arguments{};
    std::optional<size_t> limit_argument; ///< the argument that has to point to `limit`; nothing: it is in there
    timespec limit{};
    TimeWidth width = TimeWidth::Wide; ///< of the limit where it is pointed to
    compel::Registers afterwards{};    ///< of the thread once the call is interrupted
};

/// Nothing where the image says nothing of a time left. `registers` are those of resource::read_registers().
Result<std::optional<LimitedCall>> read_limited_call(const img::core_entry &core, const compel::Registers &registers);

} // namespace resource
