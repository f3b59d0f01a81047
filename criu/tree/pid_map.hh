// What images say (pids as the root task's pid namespace sees them) and what the kernel is asked with (as the tool sees
// them), translated at the boundary.
#pragma once

#include "base/ids.hh"

#include <map>

namespace tree {

class PidMap {
public:
    /// One side is the other: no pid namespace lies in between.
    static PidMap identity() { return {}; }
    /// Only what add() says is known.
    static PidMap empty() {
        PidMap map;
        map.identity_ = false;
        return map;
    }

    void add(base::Pid pid, base::VPid vpid) {
        inner_[pid] = vpid;
        outer_[vpid] = pid;
    }

    /// 0 for who cannot be seen from inside, as the kernel says it there.
    base::VPid inside(base::Pid pid) const {
        if (identity_)
            return base::VPid(pid.value);
        auto found = inner_.find(pid);
        return found == inner_.end() ? base::VPid() : found->second;
    }
    /// 0 for a number that nobody of the tree has.
    base::Pid outside(base::VPid vpid) const {
        if (identity_)
            return base::Pid(vpid.value);
        auto found = outer_.find(vpid);
        return found == outer_.end() ? base::Pid() : found->second;
    }

private:
    bool identity_ = true;
    std::map<base::Pid, base::VPid> inner_;
    std::map<base::VPid, base::Pid> outer_;
};

} // namespace tree
