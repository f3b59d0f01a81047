// Properties of control groups: which files of a group are saved, and in which order and by which means each comes
// back.
#pragma once

#include "base/log.hh"
#include "base/result.hh"
#include "cgroup.pb.h"
#include "criu/resource/cgroup/options.hh"

#include <string>

namespace resource::cgroup {

using base::Result;

/// Reads mode, owner and properties of a group. `controllers` as /proc/PID/cgroup spells them; `lists`: what the user
/// wants saved.
Result<void> read_group(int directory, const std::string &controllers, const PropertyLists &lists,
                        img::cgroup_dir_entry &entry);

/// Mode and owner of the directory.
Result<void> write_permissions(int directory, const img::cgroup_perms &permissions);

/// What has to be there before anybody may be in the group: in one that was made a moment ago.
Result<void> write_early(int directory, const img::cgroup_dir_entry &entry, base::Log &log);
/// All other properties, when the tasks are in their groups. What this machine refuses is a warning: the group has its
/// default then, and the log says which.
Result<void> write_late(int directory, const img::cgroup_dir_entry &entry, base::Log &log);

} // namespace resource::cgroup
