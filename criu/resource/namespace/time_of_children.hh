// The time namespace of a task's children, where the task itself lives in another: only it can make it.
#pragma once

#include "base/result.hh"
#include "criu/image/image_dir.hh"

namespace resource {

/// unshare(CLONE_NEWTIME), with the clocks of the image. `own_proc`: a directory of /proc in which the caller is seen.
base::Result<void> make_time_of_children(const image::ImageDir &images, uint32_t id, int own_proc);

} // namespace resource
