// Which tasks share an address space, a descriptor table, a working directory or signal actions.
#pragma once

#include "criu/tree/facts.hh"

namespace dump {

/// Numbers the kernel objects of all tasks: equal objects get equal numbers, from 2 on (1 is the tool's own, as in
/// CRIU's images). kcmp(2) orders objects, so that n tasks take n log n calls.
void assign_shared_ids(std::vector<tree::TaskFacts> &tasks);

/// Whether a thread has the descriptors of its process, as threads do unless they call unshare(2).
bool shares_descriptors(base::Pid leader, base::Pid thread);

} // namespace dump
