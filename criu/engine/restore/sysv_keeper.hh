// A process of ours that brings back the System V segments and holds them until the tree does. What it has created it
// removes again when the restore fails, also when the restore is killed.
#pragma once

#include "base/log.hh"
#include "base/unique_fd.hh"
#include "criu/plan/checkpoint.hh"

namespace restore {

using base::Result;

class SysvKeeper {
public:
    /// Nothing happens for a checkpoint without segments. Errors: those of resource::SegmentSet; BadImage when a task
    /// maps a segment that is not in the images.
    static Result<SysvKeeper> start(const plan::Checkpoint &checkpoint, base::Log &log);
    SysvKeeper(SysvKeeper &&other) noexcept = default;
    /// Takes the segments back, unless done().
    ~SysvKeeper();
    /// The tree has them.
    void done() { end('k'); }

private:
    SysvKeeper() = default;
    void end(char word);
    base::UniqueFd line_;
};

} // namespace restore
