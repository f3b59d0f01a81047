// Control groups: who is in which, the groups themselves, and their properties. In the image a *set* is what
// /proc/PID/cgroup lists, one group of each hierarchy; set 1 is the tool's own and not described: its tasks come back
// in the groups of the restore.
//
// Everything here is done from outside, by the tool, with pids: tasks need no rights over their groups, and what the
// tool needs for it is not charged to them.
#pragma once

#include "base/ids.hh"
#include "base/log.hh"
#include "cgroup.pb.h"
#include "criu/image/image_dir.hh"
#include "criu/image/image_writer.hh"
#include "criu/resource/cgroup/hierarchy.hh"
#include "criu/resource/cgroup/options.hh"
#include "criu/tree/facts.hh"
#include "criu/tree/namespaces.hh"

#include <span>

namespace resource::cgroup {

inline constexpr uint32_t kOwnSet = 1;

/// The sets of all threads of a tree, by number.
class Sets {
public:
    /// `own`: /proc/self/cgroup of the tool, as the user has started it. With a cgroup namespace of the tree's own
    /// there is no set that goes without saying. Errors: Died; Unsupported for a root task above the root of its
    /// namespace.
    static Result<Sets> collect(std::span<const tree::TaskFacts> tasks, const tree::Namespaces &namespaces,
                                const std::string &own, const Options &options);

    uint32_t of(base::Pid tid) const {
        auto found = by_thread_.find(tid);
        return found == by_thread_.end() ? kOwnSet : found->second;
    }
    /// Every thread is where the tool is.
    bool only_own() const { return sets_.empty(); }

    /// Writes cgroup.img: sets, groups below them, properties. Nothing where all are in the tool's own.
    Result<void> dump(image::ImageDirWriter &images, const Options &options) const;

private:
    using Set = std::map<std::string, std::string>; ///< controllers as the kernel spells them -> path
    Result<void> find_namespace_roots(base::Pid root, const tree::Namespaces &namespaces);
    std::map<uint32_t, Set> sets_;       ///< without the tool's own
    Set namespace_roots_;                ///< the part of their paths that is the root of the tree's cgroup namespace
    std::vector<std::string> own_order_; ///< controllers of the tool's set, as listed
    std::map<base::Pid, uint32_t> by_thread_;
};

/// The groups of an image on this machine.
class Groups {
public:
    /// Makes what is missing, as the mode says. `sets`: numbers that are in use.
    /// Errors: System; Unsupported for groups that have to be there and are not, or the other way round.
    static Result<Groups> prepare(const image::ImageDir &images, const Options &options, base::Log &log);
    Groups(Groups &&) noexcept = default;
    Groups &operator=(Groups &&) = delete;
    /// Removes the groups that were made, unless keep() was called; their tasks have ended.
    ~Groups();

    bool knows(uint32_t set) const { return sets_.contains(set); }
    /// Moves the root task to where its cgroup namespace begins, if it gets one: it calls unshare there. Else to its
    /// set.
    Result<void> move_to_namespace_root(uint32_t set, base::Pid pid) const;
    /// Moves a process, or one thread. In the root's case before it has others.
    Result<void> move_process(uint32_t set, base::Pid pid) const;
    Result<void> move_thread(uint32_t set, base::Pid tid) const;
    /// The properties that could not be set before tasks were in their groups.
    Result<void> finish(base::Log &log) const;
    void keep() { made_.clear(); }

private:
    struct Made {
        int root;
        std::string path;
    };
    struct Pending {
        base::UniqueFd directory;
        img::cgroup_dir_entry entry;
    };
    Groups() = default;
    Result<void> prepare_tree(const std::string &controllers, const img::cgroup_dir_entry &entry,
                              const std::string &above, const Options &options, base::Log &log);
    Result<void> prepare_one(int root, const std::string &path, const img::cgroup_dir_entry &entry,
                             const Options &options, base::Log &log);
    using Paths = std::map<std::string, std::string>; ///< controllers -> path on this machine
    Result<void> move(const Paths &paths, base::Pid pid, const char *file, const char *file_v2) const;
    Result<const Paths *> paths_of(uint32_t set) const;

    std::unique_ptr<Hierarchies> hierarchies_;
    std::map<uint32_t, Paths> sets_;
    std::map<uint32_t, Paths> namespace_roots_; ///< by set; the same paths where none begins there
    std::vector<Made> made_;                    ///< parents first
    std::vector<Pending> pending_;
};

} // namespace resource::cgroup
