// CLOCK_MONOTONIC begins at zero with each boot. Where it is behind that of the checkpoint, the tree is moved into a
// time namespace whose clocks go on where they were; where it is not, that is left alone: a tree in a time namespace of
// its own is entered and dumped with more effort, and an advance looks to programs like a long sleep.

#include "criu/engine/restore/surroundings.hh"

#include "timens.pb.h"

#include <ctime>
#include <fmt/format.h>

namespace restore {

Result<bool> clock_is_behind(const plan::Checkpoint &checkpoint, bool unprivileged, base::Log &log) {
    const auto saved = TRY(checkpoint.images().read_one<img::timens_entry>(image::ImageKind::Timens));
    timespec now{};
    if (!saved || clock_gettime(CLOCK_MONOTONIC, &now) < 0)
        return false;
    const uint64_t then_s = saved->monotonic().tv_sec(), now_s = static_cast<uint64_t>(now.tv_sec);
    if (then_s <= now_s)
        return false;
    const std::string behind =
        fmt::format("restore: CLOCK_MONOTONIC is {} s behind that of the checkpoint (another boot)", then_s - now_s);
    if (unprivileged) {
        log.warn(behind + ": what a program does at a time of that clock comes so much later, as a time namespace "
                          "needs CAP_SYS_ADMIN");
        return false;
    }
    log.info(behind + ": the tree gets a time namespace, in which it goes on");
    return true;
}

} // namespace restore
