// Cgroup namespaces: which group is the root of what their members see. That is the group in which somebody called
// unshare, so the root task is moved there first (cgroup::Groups::move_to_namespace_root), and to its own one after.
// The images have it as the length of a part of the groups' paths (cgns_prefix).
#include "criu/resource/namespace/kinds.hh"

#include <sched.h>

namespace resource::cgroup_namespace {

Result<void> fill(NamespaceFillContext &) {
    if (unshare(CLONE_NEWCGROUP) < 0)
        return base::fail_sys("unshare");
    return {};
}

} // namespace resource::cgroup_namespace
