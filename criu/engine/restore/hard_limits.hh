// Hard limits (RLIMIT_...) can only be raised with CAP_SYS_RESOURCE: tasks that had higher ones than ours cannot get
// them.
#pragma once

#include "base/log.hh"
#include "criu/plan/checkpoint.hh"

namespace restore {

using base::Result;

/// Errors: Unsupported, naming the limit and both values; with `lower` (--lower-limits) the images' are lowered to ours
/// instead, and the log says so.
Result<void> fit_limits(plan::Checkpoint &checkpoint, bool lower, base::Log &log);

} // namespace restore
