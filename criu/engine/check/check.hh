// The command `check`: can this kernel do what dump and restore need?
#pragma once

#include "base/log.hh"
#include "criu/engine/outcome.hh"
#include "criu/engine/request.hh"

namespace check {

/// Checks everything asked for, or single features. Details go to the log.
engine::CheckOutcome run(const engine::CheckRequest &request, base::Log &log);

} // namespace check
