#include "criu/engine/restore/memory_checks.hh"

#include <fmt/format.h>

namespace restore {

// A dump writes one for every task that lives, also where it says that there are no pages.
Result<void> check_memory(const plan::Checkpoint &checkpoint) {
    for (const plan::TaskImage &task : checkpoint.tasks)
        if (!task.dead() && !checkpoint.images.exists(image::ImageKind::Pagemap, task.pid))
            return base::fail(base::Error(base::ErrorKind::BadImage, fmt::format("pagemap-{}.img is missing", task.pid))
                                  .hint("if the dump was made with --page-server, copy pagemap-*.img and pages-*.img "
                                        "from the page server's folder into this one"));
    return {};
}

} // namespace restore
