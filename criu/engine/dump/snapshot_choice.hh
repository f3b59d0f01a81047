// Which way a dump that leaves the tree running takes its memory, decided before the tree is stopped.
#pragma once

#include "base/log.hh"
#include "criu/engine/request.hh"
#include "criu/tree/facts.hh"

namespace dump {

enum class SnapshotWay : uint8_t {
    InStop,  ///< it is written while the tree stands
    Fork,    ///< from copies that the tasks fork in the stop (memory_twin.hh)
    Precopy, ///< before the stop, while the tree runs (precopy.hh)
};

/// Less than this is written in the time that anything else takes.
inline constexpr uint64_t kWorthASnapshot = 64u << 20;

/// What of a tree decides, as far as it shows while it runs.
struct TreeSurvey {
    uint64_t resident = 0, huge = 0; ///< bytes of memory, and those of them in transparent huge pages
    bool waits_for_all = false;      ///< a thread waits for children of every kind: it could see copies
    bool needs_guard = false;        ///< some task is sandboxed or stopped
    std::string obstacle;            ///< why there can be no copies; empty: there can
};
TreeSurvey survey_tree(const engine::DumpRequest &request);

/// Pure. `has_listeners`: scripts behind the dump count on a tree that stands still, unless the user has asked.
SnapshotWay choose_snapshot(const engine::DumpRequest &request, bool has_listeners, const TreeSurvey &tree);

/// Bytes of memory of a task that has any.
uint64_t resident(const tree::TaskFacts &task);

/// Why the tree cannot have twins; nothing if it can.
std::string obstacle_to_twins(const engine::DumpRequest &request, const std::vector<tree::TaskFacts> &tasks);

} // namespace dump
