#include "criu/engine/dump/statistics.hh"

#include "base/clock.hh"
#include "criu/image/stats_file.hh"

namespace dump {

DumpClock::DumpClock() : start_(base::now_us()) {}
void DumpClock::frozen() {
    frozen_ = base::now_us();
}
void DumpClock::done() {
    done_ = base::now_us();
}

Result<img::dump_stats_entry> write_statistics(const DumpClock &clock, const MemoryStatistics &memory,
                                               int work_dir_fd) {
    img::stats_entry entry;
    img::dump_stats_entry *stats = entry.mutable_dump();
    stats->set_freezing_time(clock.freezing_us());
    stats->set_frozen_time(clock.frozen_us());
    stats->set_memdump_time(static_cast<uint32_t>(memory.scan_us));
    stats->set_memwrite_time(static_cast<uint32_t>(memory.write_us));
    stats->set_pages_scanned(memory.pages_scanned);
    stats->set_pages_skipped_parent(memory.pages_in_parent);
    stats->set_pages_written(memory.pages_written);
    stats->set_irmap_resolve(0);
    stats->set_pages_lazy(memory.pages_lazy);
    stats->set_page_pipes(0);
    stats->set_page_pipe_bufs(0);
    stats->set_shpages_scanned(memory.shmem_pages_scanned);
    stats->set_shpages_skipped_parent(memory.shmem_pages_in_parent);
    stats->set_shpages_written(memory.shmem_pages_written);
    TRY(image::write_statistics_file(work_dir_fd, "stats-dump", entry));
    return entry.dump();
}

} // namespace dump
