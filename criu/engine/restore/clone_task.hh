// Makes one process of the tree, with all numbers that it has.
#pragma once

#include "criu/engine/restore/context.hh"

#include <functional>
#include <linux/sched.h>

namespace restore {

using base::Result;

struct Birth {
    RestoreContext &context;
    const plan::Node &node;
    const std::vector<int32_t> &wanted; ///< its numbers, the innermost first
    uint32_t midwife;                   ///< Birthplace::owner()
    std::function<void()> live;         ///< what it does; does not return
};

/// `args.set_tid_size`: how many of the numbers the caller may choose. Errors: System, with a hint.
Result<pid_t> clone_task(const Birth &birth, clone_args args);

} // namespace restore
