#include "criu/engine/restore/statistics.hh"

#include "base/clock.hh"
#include "criu/image/stats_file.hh"
#include "images_pb.hh"

#include <fcntl.h>
#include <fmt/format.h>

namespace restore {
RestoreClock::RestoreClock() : start_(base::now_us()) {}
void RestoreClock::forked() {
    forked_ = base::now_us();
}
void RestoreClock::done() {
    done_ = base::now_us();
}

Result<void> write_statistics(const RestoreClock &clock, const Rendezvous::Counters &counters, bool display) {
    img::stats_entry entry;
    img::restore_stats_entry *stats = entry.mutable_restore();
    stats->set_pages_compared(counters.compared);
    stats->set_pages_skipped_cow(counters.skipped_cow);
    stats->set_forking_time(clock.forking_us());
    stats->set_restore_time(clock.total_us());
    stats->set_pages_restored(counters.restored);
    if (display)
        fmt::print("Displaying restore stats:\nPages compared: {}\nPages skipped COW: {}\nPages restored: {}\n"
                   "Restore time: {} us\nForking time: {} us\n",
                   stats->pages_compared(), stats->pages_skipped_cow(), stats->pages_restored(), stats->restore_time(),
                   stats->forking_time());
    return image::write_statistics_file(AT_FDCWD, "stats-restore", entry);
}

} // namespace restore
