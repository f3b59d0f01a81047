// A userfaultfd for an address space that is not ours.
#pragma once

#include "compel/injection.hh"

namespace tracking {

using base::Result;

/// Has the task make one, takes it, and has the task close it, in one batch: also if we die meanwhile the task keeps
/// nothing, and while it runs it never has it. Errors: System with what userfaultfd(2) says in the task.
Result<base::UniqueFd> borrow_userfaultfd(compel::Injection &agent);

} // namespace tracking
