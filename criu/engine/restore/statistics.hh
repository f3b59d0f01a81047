// How long a restore took: stats-restore in the work directory, --display-stats.
#pragma once

#include "criu/engine/restore/rendezvous.hh"

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

/// Writes stats-restore into the current directory, and to standard output if `display`.
Result<void> write_statistics(const RestoreClock &clock, const Rendezvous::Counters &counters, bool display);

} // namespace restore
