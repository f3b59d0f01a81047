// How long a dump took and how much it wrote: stats-dump in the work directory.
#pragma once

#include "base/log.hh"
#include "criu/engine/dump/memory.hh"

namespace dump {

/// Marks the instants that count.
class DumpClock {
public:
    DumpClock();
    void frozen(); ///< all tasks are stopped
    void done();   ///< the tasks go on, or are dead
    uint32_t freezing_us() const { return static_cast<uint32_t>(frozen_ - start_); }
    uint32_t frozen_us() const { return static_cast<uint32_t>(done_ - frozen_); }

private:
    uint64_t start_, frozen_ = 0, done_ = 0;
};

/// Writes stats-dump, and returns what is in it.
Result<img::dump_stats_entry> write_statistics(const DumpClock &clock, const MemoryStatistics &memory, int work_dir_fd);

} // namespace dump
