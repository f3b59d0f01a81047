// criu lazy-pages: brings memory to tasks that restore --lazy-pages has restored without it, as they ask for it and
// beforehand, until all is there.
#pragma once

#include "base/log.hh"
#include "criu/engine/notifier.hh"
#include "criu/engine/request.hh"

namespace lazy {

using base::Result;

/// One restore, from its connection to the last page.
/// Errors: what ended it early. No task reads zeroes where its memory should be: the tree is ended then.
Result<void> run(const engine::LazyPagesRequest &request, engine::Notifier &notifier, base::Log &log);

} // namespace lazy
