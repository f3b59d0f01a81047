// A tree moves to another machine: `criu migrate` and `criu receive`. Memory goes ahead in rounds of pre-dumps, each a
// stream of images over one connection; the last round is a dump, and the tree goes on there. See protocol.hh.
#pragma once

#include "base/log.hh"
#include "base/result.hh"
#include "criu/engine/notifier.hh"
#include "criu/engine/request.hh"

namespace migrate {

using base::Result;

/// The source. When it returns without an error, the tree runs there and has ended here. Errors: it runs here as
/// before; but with the code EINPROGRESS it stands still here, as nobody knows whether it runs there.
Result<void> send(const engine::MigrateRequest &request, engine::Notifier &notifier, base::Log &log);

/// The destination: waits for one tree. Errors: nothing of it is here.
Result<void> receive(const engine::ReceiveRequest &request, engine::Notifier &notifier, base::Log &log);

/// Lets a tree go on that send() has left standing. Errors: Died if there is no such process, Usage if it does not
/// stand.
Result<void> resume_here(base::Pid root);

} // namespace migrate
