// pidfds on their way through a unix socket: they can be sent only when their processes exist.
#pragma once

#include "criu/resource/file/file.hh"

#include <functional>

namespace resource {

/// In a dump, while descriptors of a queue are dumped whose restored form can be passed through once more.
struct LatePassing {
    bool possible = false;
};

/// A file of this kind may be on its way although it is opened late.
bool can_be_passed_late(const img::file_entry &file);
/// Holds the place of a late file in a queue until refill_late_queues().
Result<base::UniqueFd> late_stand_in();

/// By the coordinator, when every process is restored and none runs. `fetch` gets the descriptor of a file that a task
/// has open; an invalid one if none has.
Result<void> refill_late_queues(const image::ImageDir &images, const ImageFiles &files, const tree::PidMap &pids,
                                const std::function<Result<base::UniqueFd>(uint32_t id)> &fetch);

} // namespace resource
