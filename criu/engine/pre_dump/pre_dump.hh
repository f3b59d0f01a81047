// `criu pre-dump`.
#pragma once

#include "base/log.hh"
#include "criu/engine/notifier.hh"
#include "criu/engine/outcome.hh"
#include "criu/engine/request.hh"

namespace pre_dump {

/// Saves the memory of the tree into the directory of images while it runs, and has writes noted from then on, so that
/// the dump that follows saves what has changed. The tree stands still only while its mappings are listed. On any
/// failure it goes on, and no image is left behind.
base::Result<engine::DumpOutcome> run(const engine::PreDumpRequest &request, engine::Notifier &notifier,
                                      base::Log &log);

} // namespace pre_dump
