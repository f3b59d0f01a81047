// What came of a request that did not fail; a failure is a base::Error, with its kind, errno and hint.
#pragma once

#include "base/ids.hh"
#include "stats.pb.h"

#include <optional>
#include <string>

namespace engine {

/// DumpOutcome::script_status where nobody can tell whether the tree may go on: it stands still.
inline constexpr int kUndecided = 256;

struct DumpOutcome {
    /// Of the first post-dump script that failed: the images are complete, but the tasks go on. 0: none did.
    int script_status = 0;
    img::dump_stats_entry statistics;
};

struct RestoreOutcome {
    base::Pid root{0};
    img::restore_stats_entry statistics;
    int asked_to_end = 0; ///< a signal that came when it was too late to undo everything
    std::string plan;     ///< of RestoreRequest::print_plan: nothing else was done
};

struct CheckOutcome {
    std::string text; ///< the findings, in the words that scripts look for
    bool complete = false;
};

} // namespace engine
