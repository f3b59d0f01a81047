// Which files the root task opens for the whole tree, in which order and where: what restore/files.cc carries out.
// Pure. A description is opened once, and inherited by all that have it.
//
// The order: network devices, to which sockets may be bound; then by number; then what plugins open, which may want
// others to be open. A file that only exists inside of another one (on its way through a socket, a deleted file that is
// watched) is in it as well. What cannot exist before all processes do is late: plan/late_files.cc has it opened.
#pragma once

#include "criu/plan/checkpoint.hh"
#include "criu/resource/file/file.hh"

namespace plan {

struct FileStep {
    const img::file_entry *file = nullptr;
    const resource::FileKind *kind = nullptr;
    resource::Place place;
    /// The number it gets at once: that of all its holders, where no other file has that number anywhere.
    std::optional<int> home;
    std::optional<uint32_t> carrier; ///< the file inside of which it is; a task may have a descriptor of it, too
};

struct FileSchedule {
    std::vector<FileStep> early; ///< in order; the last ones may be Opening::Last
    std::vector<FileStep> late;  ///< by number
};

/// `states`: what the kinds read of the images for this. Errors: BadImage, Unsupported.
Result<FileSchedule> schedule_files(const Checkpoint &checkpoint, resource::KindStates &states);

/// A line for --print-plan.
std::string describe(const FileStep &step);

} // namespace plan
