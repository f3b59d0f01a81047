// Which tasks share an address space, a descriptor table, a working directory or signal actions.
#pragma once

#include "criu/tree/facts.hh"

namespace dump {

/// Numbers the kernel objects of all tasks: equal objects get equal numbers, from 2 on (1 is the tool's own, as in
/// CRIU's images). kcmp(2) orders objects, so that n tasks take n log n calls.
/// Threads that have left the descriptors or directories of their process are marked.
void assign_shared_ids(std::vector<tree::TaskFacts> &tasks);
} // namespace dump
