// Whether the memory that a restore needs is where it will look for it.
#pragma once

#include "criu/plan/address_space.hh"

namespace restore {

using base::Result;

/// `lazily`: a daemon brings what may come later. Errors: BadImage where pages have stayed with a page server, with
/// what to do about it.
Result<void> check_memory(const plan::Checkpoint &checkpoint, const std::vector<plan::AddressSpace> &spaces,
                          bool lazily);

} // namespace restore
