// Whether the memory that a restore needs is where it will look for it.
#pragma once

#include "criu/plan/checkpoint.hh"

namespace restore {

using base::Result;

/// Errors: BadImage where pages have stayed with a page server, with what to do about it.
Result<void> check_memory(const plan::Checkpoint &checkpoint);

} // namespace restore
