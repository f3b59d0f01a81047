#include "criu/plan/topology.hh"

#include <algorithm>
#include <fmt/format.h>
#include <set>

namespace plan {
namespace {

class Builder {
public:
    Builder(const Checkpoint &checkpoint, bool shell_job) : checkpoint_(checkpoint), shell_job_(shell_job) {
        for (size_t i = 0; i < checkpoint.tasks.size(); i++)
            by_pid_[checkpoint.tasks[i].pid] = i;
    }

    Result<Topology> build() {
        const TaskImage &root = checkpoint_.root();
        foreign_sid_ = root.sid == root.pid ? 0 : root.sid;
        foreign_pgid_ = root.pgid != root.pid && !by_pid_.contains(root.pgid) ? root.pgid : 0;
        if ((foreign_sid_ || foreign_pgid_) && !shell_job_)
            return base::fail(
                base::Error(base::ErrorKind::Unsupported,
                            fmt::format("task {} belongs to session {}, whose leader is not in the checkpoint",
                                        root.pid, root.sid))
                    .hint("restore with --shell-job"));
        TRY(add(0, -1, foreign_sid_));
        add_group_leaders();
        return std::move(topology_);
    }

private:
    /// `born`: the session that the parent is in when it forks the task, 0 for the caller's.
    Result<void> add(size_t task, int parent, uint32_t born) {
        const TaskImage &image = checkpoint_.tasks[task];
        const auto index = static_cast<int>(topology_.nodes.size());
        Node node{
            .pid = image.pid, .pgid = image.pgid, .sid = image.sid, .task = static_cast<int>(task), .parent = parent};
        node.leads_session = image.sid == image.pid;
        node.shares_memory = image.memory_of != 0;
        if (node.shares_memory && topology_.nodes[static_cast<size_t>(parent)].pid != image.ppid)
            return base::unsupported(fmt::format("task {} shares the memory of task {}, and is in the session of a "
                                                 "leader that has ended",
                                                 image.pid, image.ppid));
        if (!node.leads_session && image.sid != born)
            return base::unsupported(
                fmt::format("no order of forks puts task {} into session {}", image.pid, image.sid));
        if (parent >= 0 && topology_.nodes[static_cast<size_t>(parent)].pid == image.ppid &&
            image.core().tc().ext().parent_thread() != image.ppid)
            node.parent_thread = image.core().tc().ext().parent_thread();
        if (image.sid == foreign_sid_)
            node.sid = 0;
        if (image.pgid == foreign_pgid_)
            node.pgid = 0;
        topology_.nodes.push_back(node);
        added_[image.pid] = index;
        if (parent >= 0)
            topology_.nodes[static_cast<size_t>(parent)].children.push_back(index);
        for (size_t child : children_of(image.pid))
            if (!is_added(checkpoint_.tasks[child].pid))
                TRY(add_child(child, index, born));
        return {};
    }

    Result<void> add_child(size_t child, int parent, uint32_t parent_born) {
        const TaskImage &image = checkpoint_.tasks[child];
        Node &node = topology_.nodes[static_cast<size_t>(parent)];
        const uint32_t now = node.leads_session ? node.pid : parent_born;
        if (image.sid == image.pid || image.sid == now)
            return add(child, parent, now);
        if (node.leads_session && image.sid == parent_born) {
            TRY(add(child, parent, parent_born));
            Node &added = topology_.nodes[static_cast<size_t>(node_of(image.pid))];
            added.before_setsid = true;
            if (added.parent_thread)
                return base::unsupported(fmt::format(
                    "task {} was forked by a thread of its parent before that became a session's leader", image.pid));
            return {};
        }
        return add(child, TRY(dead_leader(image.sid, parent, now)), image.sid);
    }

    /// The leader of a session that has died: a zombie of the checkpoint, or a helper in its stead. A child of
    /// `parent`.
    Result<int> dead_leader(uint32_t sid, int parent, uint32_t born) {
        topology_.nodes[static_cast<size_t>(parent)].adopts = true;
        if (auto zombie = by_pid_.find(sid); zombie != by_pid_.end()) {
            if (!is_added(sid))
                TRY(add(zombie->second, parent, born));
            return node_of(sid);
        }
        return session_helper(sid, parent);
    }

    int session_helper(uint32_t sid, int parent) {
        if (is_added(sid))
            return node_of(sid);
        const auto index = static_cast<int>(topology_.nodes.size());
        topology_.nodes.push_back({.pid = sid, .pgid = sid, .sid = sid, .parent = parent, .leads_session = true});
        topology_.nodes[static_cast<size_t>(parent)].children.push_back(index);
        added_[sid] = index;
        return index;
    }

    /// Stand-ins for dead group leaders: forked by a member, so that they are in its session.
    void add_group_leaders() {
        std::set<uint32_t> present;
        for (const Node &node : topology_.nodes)
            present.insert(node.pid);
        const size_t count = topology_.nodes.size();
        for (size_t i = 0; i < count; i++) {
            const uint32_t pgid = topology_.nodes[i].pgid;
            if (!pgid || !present.insert(pgid).second)
                continue;
            const auto index = static_cast<int>(topology_.nodes.size());
            topology_.nodes.push_back(
                {.pid = pgid, .pgid = pgid, .sid = topology_.nodes[i].sid, .parent = static_cast<int>(i)});
            topology_.nodes[i].children.push_back(index);
        }
    }

    bool is_added(uint32_t pid) const { return added_.contains(pid); }
    int node_of(uint32_t pid) const { return added_.at(pid); }

    std::vector<size_t> children_of(uint32_t pid) const {
        if (children_.empty())
            for (size_t i = 1; i < checkpoint_.tasks.size(); i++)
                children_.emplace(checkpoint_.tasks[i].ppid, i);
        std::vector<size_t> found;
        auto [from, to] = children_.equal_range(pid);
        for (auto it = from; it != to; ++it)
            found.push_back(it->second);
        return found;
    }

    const Checkpoint &checkpoint_;
    bool shell_job_;
    uint32_t foreign_sid_ = 0, foreign_pgid_ = 0;
    std::map<uint32_t, size_t> by_pid_;
    mutable std::multimap<uint32_t, size_t> children_;
    std::map<uint32_t, int> added_; ///< pid -> node
    Topology topology_;
};

} // namespace

Result<Topology> plan_topology(const Checkpoint &checkpoint, bool shell_job) {
    return Builder(checkpoint, shell_job).build();
}

} // namespace plan
