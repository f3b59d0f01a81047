// How long a restore took: stats-restore in the work directory.
#pragma once

#include "criu/engine/restore/rendezvous.hh"
#include "stats.pb.h"

namespace restore {

class RestoreClock {
public:
    RestoreClock();
    void forked(); ///< the tree is rebuilt
    void done();   ///< the tree runs
    uint32_t forking_us() const { return static_cast<uint32_t>(forked_ - start_); }
    uint32_t total_us() const { return static_cast<uint32_t>(done_ - start_); }

private:
    uint64_t start_, forked_ = 0, done_ = 0;
};

/// Writes stats-restore, and returns what is in it.
Result<img::restore_stats_entry> write_statistics(const RestoreClock &clock, const Rendezvous::Counters &counters,
                                                  int work_dir_fd);

} // namespace restore
