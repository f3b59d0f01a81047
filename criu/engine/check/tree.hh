// `check --tree PID`: what in a running tree would prevent or degrade a checkpoint, and what to do about it.
#pragma once

#include "base/result.hh"
#include "criu/engine/outcome.hh"
#include "criu/engine/request.hh"

#include <string>
#include <vector>

namespace check {

enum class Severity : uint8_t {
    Degrades, ///< a checkpoint is possible, at a price
    Prevents, ///< a dump would refuse
};

struct Finding {
    Severity severity = Severity::Prevents;
    int pid = 0; ///< 0: the tree as a whole
    std::string comm;
    std::string object; ///< "fd 7", "mapping 7f00-7f10"; empty: the task itself
    std::string reason;
    std::string advice; ///< empty where there is nothing to do
};

struct TreeReport {
    size_t processes = 0, threads = 0, descriptors = 0;
    std::vector<Finding> findings;
    bool prevents() const;
};

/// Looks at the tree of request.root. It is frozen only while facts are collected; descriptors are looked at while it
/// runs again, so that one may have been closed meanwhile, which is no finding.
/// Errors: Died, System(EPERM) as for a dump; what a dump would refuse is a finding, not an error.
base::Result<TreeReport> examine(const engine::DumpRequest &request);

/// One line per finding and one for its advice, then the verdict.
std::string to_text(const TreeReport &);
std::string to_json(const TreeReport &);

enum class TreeFormat { Text, Json };

/// Text of the report; complete if nothing prevents a checkpoint.
base::Result<engine::CheckOutcome> run_tree(const engine::DumpRequest &request, TreeFormat format);

} // namespace check
