// `criu restore`.
#pragma once

#include "base/log.hh"
#include "base/result.hh"
#include "criu/engine/notifier.hh"
#include "criu/engine/outcome.hh"
#include "criu/engine/request.hh"

namespace restore {

/// Brings the tree in request.images_dir_fd back. On any failure nothing of it is left. All signals are at their
/// defaults afterwards.
base::Result<engine::RestoreOutcome> run(const engine::RestoreRequest &request, engine::Notifier &notifier,
                                         base::Log &log);

} // namespace restore
