// Memory policies of single mappings (mbind). The kernel tells them to the task itself only, in /proc/PID/numa_maps at
// the price of a walk through all page tables.
#pragma once

#include "compel/injection.hh"
#include "criu/tree/facts.hh"

#include <map>
#include <string>

namespace dump {

struct NumaPolicy {
    uint32_t mode = 0; ///< with its flags
    std::string nodes; ///< bit mask, little endian
};

/// By start of the mapping; those with the default are left out.
base::Result<std::map<uint64_t, NumaPolicy>> ask_numa_policies(compel::Injection &agent, const tree::TaskFacts &task);

} // namespace dump
