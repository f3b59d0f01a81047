// CLOCK_MONOTONIC begins at zero with each boot. Timers are saved as the time that is left, but programs also keep
// absolute times of that clock in their memory: behind a reboot these lie in a far future. CRIU moves the tree into a
// time namespace; we do not yet, and say so.

#include "criu/engine/restore/surroundings.hh"

#include "timens.pb.h"

#include <ctime>
#include <fmt/format.h>

namespace restore {

Result<std::optional<std::string>> clock_behind(const plan::Checkpoint &checkpoint) {
    const auto saved = TRY(checkpoint.images.read_one<img::timens_entry>(image::ImageKind::Timens));
    timespec now{};
    if (!saved || clock_gettime(CLOCK_MONOTONIC, &now) < 0)
        return std::nullopt;
    const uint64_t then_s = saved->monotonic().tv_sec(), now_s = static_cast<uint64_t>(now.tv_sec);
    if (then_s <= now_s)
        return std::nullopt;
    return fmt::format("CLOCK_MONOTONIC is {} s behind that of the checkpoint (another boot): what a program does at a "
                       "time of that clock comes so much later",
                       then_s - now_s);
}

} // namespace restore
