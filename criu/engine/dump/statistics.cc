#include "criu/engine/dump/statistics.hh"

#include "base/clock.hh"
#include "criu/image/stats_file.hh"

#include <fcntl.h>
#include <fmt/format.h>

namespace dump {
namespace {

void show(const img::dump_stats_entry &stats) {
    fmt::print("Displaying dump stats:\n"
               "Freezing time: {} us\nFrozen time: {} us\nMemory dump time: {} us\nMemory write time: {} us\n"
               "Memory pages scanned: {}\nMemory pages skipped from parent: {}\nMemory pages written: {}\n"
               "Lazy memory pages: {}\n",
               stats.freezing_time(), stats.frozen_time(), stats.memdump_time(), stats.memwrite_time(),
               stats.pages_scanned(), stats.pages_skipped_parent(), stats.pages_written(), stats.pages_lazy());
}

} // namespace

DumpClock::DumpClock() : start_(base::now_us()) {}
void DumpClock::frozen() {
    frozen_ = base::now_us();
}
void DumpClock::done() {
    done_ = base::now_us();
}

Result<void> write_statistics(const DumpClock &clock, const MemoryStatistics &memory, bool display) {
    img::stats_entry entry;
    img::dump_stats_entry *stats = entry.mutable_dump();
    stats->set_freezing_time(clock.freezing_us());
    stats->set_frozen_time(clock.frozen_us());
    stats->set_memdump_time(static_cast<uint32_t>(memory.scan_us));
    stats->set_memwrite_time(static_cast<uint32_t>(memory.write_us));
    stats->set_pages_scanned(memory.pages_scanned);
    stats->set_pages_skipped_parent(0);
    stats->set_pages_written(memory.pages_written);
    stats->set_irmap_resolve(0);
    stats->set_pages_lazy(0);
    stats->set_page_pipes(0);
    stats->set_page_pipe_bufs(0);
    stats->set_shpages_scanned(memory.shmem_pages_scanned);
    stats->set_shpages_skipped_parent(0);
    stats->set_shpages_written(memory.shmem_pages_written);
    if (display)
        show(*stats);
    return image::write_statistics_file(AT_FDCWD, "stats-dump", entry);
}

} // namespace dump
