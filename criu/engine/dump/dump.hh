// `criu dump`.
#pragma once

#include "base/log.hh"
#include "base/result.hh"
#include "criu/engine/notifier.hh"
#include "criu/engine/outcome.hh"
#include "criu/engine/request.hh"

namespace dump {

/// Checkpoints the tree of request.root into request.images_dir_fd. The tasks are dead afterwards, or go on, or stay
/// stopped, as was asked for; on any failure, and where a post-dump script fails, they go on as if nothing had
/// happened. No image is left behind by a failure.
base::Result<engine::DumpOutcome> run(const engine::DumpRequest &request, engine::Notifier &notifier, base::Log &log);

} // namespace dump
