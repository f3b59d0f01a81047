// `crit core`: a checkpoint as core files, for debuggers.
#pragma once

#include "base/result.hh"
#include "criu/image/image_dir.hh"

#include <optional>
#include <string>

namespace crit {

/// Writes core.PID of the task, or of all tasks that live, into a folder. Memory that was not saved because it is in a
/// file is left to the debugger, who finds the file. Errors: BadImage, also if there is no such task.
base::Result<void> write_cores(const image::ImageDir &dir, std::optional<uint32_t> pid, const std::string &folder);

} // namespace crit
