// Who forks whom, when: sessions, process groups and the helpers that lend them their ids. Pure.
//
// A session id is inherited by fork and changed only by setsid, which makes one's own pid the id. A task whose session
// is not its parent's present one was forked before the parent's setsid, or by a leader that has died; then a helper
// with the leader's pid starts the session, forks the task and goes, and the task falls to the nearest subreaper. A
// process group needs its leader alive only while others join: a helper stands in for a dead one.
#pragma once

#include "criu/plan/checkpoint.hh"

namespace plan {

/// One process to create: a task of the checkpoint, or a helper.
struct Node {
    uint32_t pid = 0, pgid = 0, sid = 0;
    int task = -1;              ///< index in Checkpoint::tasks; -1: a helper
    int parent = -1;            ///< index of the node that forks it; -1: the coordinator
    bool before_setsid = false; ///< forked while the parent is still in the session that it was born into
    bool leads_session = false; ///< calls setsid
    uint32_t parent_thread = 0; ///< thread of the parent that forks it, 0 for the leader
    std::vector<int> children;
    bool shares_memory = false; ///< with its parent: a process of the same address space
    bool adopts = false;        ///< subreaper while the tree is made: helpers' children fall to it
};

struct Topology {
    std::vector<Node> nodes; ///< parents before children; the first is the root task
};

/// Errors: Unsupported when no order of forks gives these sessions.
/// `foreign_session`: with --shell-job the session and group of the root are replaced by the caller's.
Result<Topology> plan_topology(const Checkpoint &checkpoint, bool shell_job);

} // namespace plan
