// Rings of the kernel's asynchronous I/O (io_setup(2)).
//
// A context is known by the address of its ring, which mremap(2) may change. The ring itself is memory that the program
// reads: events that were not collected yet lie between head and tail. The kernel has a tail of its own, which only
// completed requests move: as many empty reads of /dev/null are submitted as the old ring's tail says, then the old
// events are copied over.
#pragma once

#include "criu/plan/address_space.hh"

namespace plan {

/// Errors: BadImage for rings that do not match their mapping.
Result<void> plan_aio(ThreadPlan &plan, const TaskImage &task, const AddressSpace &space, const Surroundings &around);

} // namespace plan
