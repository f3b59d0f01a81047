// Memory policies of single mappings (mbind). The kernel tells them to the task itself only, in /proc/PID/numa_maps at
// the price of a walk through all page tables.
#pragma once

#include "compel/injection.hh"
#include "criu/plan/ops.hh"
#include "criu/tree/facts.hh"
#include "images_pb.hh"

#include <map>
#include <string>

namespace resource {

inline constexpr size_t kMostNodeBytes = 128; // 1024 nodes

struct NumaPolicy {
    uint32_t mode = 0; ///< with its flags
    std::string nodes; ///< bit mask, little endian
};

/// By start of the mapping; those with the default are left out.
base::Result<std::map<uint64_t, NumaPolicy>> ask_numa_policies(compel::Injection &agent, const tree::TaskFacts &task);

/// Files the mbind() of a mapping that has a policy.
void plan_numa_policy(plan::ThreadPlan &plan, const img::vma_entry &vma);

} // namespace resource
