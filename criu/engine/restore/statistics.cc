#include "criu/engine/restore/statistics.hh"

#include "base/clock.hh"
#include "criu/image/stats_file.hh"

namespace restore {

RestoreClock::RestoreClock() : start_(base::now_us()) {}
void RestoreClock::forked() {
    forked_ = base::now_us();
}
void RestoreClock::done() {
    done_ = base::now_us();
}

Result<img::restore_stats_entry> write_statistics(const RestoreClock &clock, const Rendezvous::Counters &counters,
                                                  int work_dir_fd) {
    img::stats_entry entry;
    img::restore_stats_entry *stats = entry.mutable_restore();
    stats->set_pages_compared(counters.compared);
    stats->set_pages_skipped_cow(counters.skipped_cow);
    stats->set_forking_time(clock.forking_us());
    stats->set_restore_time(clock.total_us());
    stats->set_pages_restored(counters.restored);
    TRY(image::write_statistics_file(work_dir_fd, "stats-restore", entry));
    return entry.restore();
}

} // namespace restore
