// `restore --print-plan`.
#pragma once

#include "criu/plan/program.hh"
#include "criu/plan/topology.hh"

namespace restore {

using base::Result;

/// What a restore would do.
Result<std::string> print_plan(const plan::Checkpoint &checkpoint, const plan::Topology &topology,
                               const plan::FileSchedule &files, const std::vector<plan::AddressSpace> &spaces,
                               const plan::Surroundings &around);

} // namespace restore
