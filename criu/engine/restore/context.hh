// What all parts of a restore see. Built by the coordinator before the first fork; every task has its own copy.
#pragma once

#include "base/log.hh"
#include "criu/engine/notifier.hh"
#include "criu/engine/request.hh"
#include "criu/engine/restore/file_checks.hh"
#include "criu/engine/restore/given_namespaces.hh"
#include "criu/engine/restore/rendezvous.hh"
#include "criu/engine/restore/strand.hh"
#include "criu/plan/file_schedule.hh"
#include "criu/plan/program.hh"
#include "criu/plan/topology.hh"
#include "criu/resource/file/file.hh"
#include "criu/resource/namespace/mounts/later.hh"
#include "criu/tree/pid_map.hh"

#include <algorithm>
#include <fmt/format.h>
#include <sched.h>

namespace restore {

class LazyLink; // lazy_link.hh

struct RestoreContext {
    const engine::RestoreRequest &request;
    engine::Notifier &notifier;
    base::Log &log;
    const plan::Checkpoint &checkpoint;
    plan::Checkpoint &own_copy; ///< the same, of this process: plan::number_as_inside()
    const plan::Topology &topology;
    const plan::FileSchedule &files;
    const kernel::Plugins &plugins;
    kernel::Outside outside{};              ///< for what the tasks may not do themselves
    std::vector<plan::AddressSpace> spaces; ///< by task
    plan::Surroundings around;
    Rendezvous rendezvous;
    pid_t coordinator = 0;
    uint64_t namespace_flags = 0; ///< clone flags of the namespaces that the tree gets of its own
    const GivenNamespaces &given_namespaces;
    /// The tree gets a time namespace: it had one, or a boot lies in between.
    bool needs_own_clocks = false;
    /// Numbers of the images to those that the coordinator has to use. Without a pid namespace in between they are the
    /// same; else it knows the root when that is there, and all others when they wait to be traced.
    tree::PidMap pids = tree::PidMap::identity();
    struct {
        int read = -1, write = -1;
    } gate; ///< where a root that is not our child waits: root_tracer.hh

    /// Descriptors of all files, opened by the root task: file id -> descriptor. They lie above every descriptor of a
    /// task, or at a number that no other file has in any task.
    std::map<uint32_t, int> stash;
    std::set<uint32_t> given; ///< files whose descriptors are the caller's: left as they are
    /// Descriptors of the namespaces that only tasks below the root live in, by the image's number; made by the root
    /// task.
    std::map<uint32_t, base::UniqueFd> namespaces;
    std::vector<resource::mounts::LaterMount> later_mounts; ///< that await a pid namespace
    std::map<uint32_t, uint32_t> owners;                    ///< resource::read_owners()
    uint32_t mount_namespace = 0; ///< number of the one that this process lives in, where not the root task's
    uint32_t user_namespace = 0;  ///< number of the one that this process lives in, where not the root task's
    base::UniqueFd own_proc;      ///< /proc of the tool, as the root task has it before it has mounts of its own
    std::map<uint64_t, int> shared_memory; ///< shared anonymous memory: its id -> a descriptor of its file
    NumberGap stash_room;                  ///< where descriptors are stashed that cannot be at home
    // Of whoever has forked this process, where he cannot be seen from inside: Birthplace.
    base::UniqueFd parent;       ///< pidfd
    uint32_t parent_is = 0;      ///< its number
    bool born_elsewhere = false; ///< whether that is so
    uint32_t time_made_by = 0;   ///< the task that has left the time namespace of its children behind

    resource::KindStates kept_by_files; ///< what kinds of files remember from opening them

    /// Numbers from here to the end of the stash's room are for descriptors that outlive close_foreign().
    int keep_base() const {
        int last = stash_room.from;
        auto look_at = [&](int fd) { last = stash_room.contains(fd) ? std::max(last, fd) : last; };
        for (auto &[id, fd] : stash)
            look_at(fd);
        for (auto &[id, fd] : shared_memory)
            look_at(fd);
        return last + 1;
    }

    /// The root has a signal for the death of its parent. With -d that would be us: so it is made an orphan at once, as
    /// it will be one, and has its lasting parent when the signal is set.
    bool root_is_orphan() const {
        if (!request.detached || request.sibling || request.become_parent)
            return false;
        return std::ranges::any_of(checkpoint.root().threads, [](const plan::ThreadImage &thread) {
            return thread.core.thread_core().pdeath_sig() != 0;
        });
    }
    /// Whether the root is a child of the coordinator, who then can wait for it.
    bool root_is_child() const { return !request.sibling && !root_is_orphan(); }

    LazyLink *lazy = nullptr; ///< with lazy_pages

    /// Others of this address space that take turns with the main thread: early threads, and processes that share it.
    std::vector<std::unique_ptr<Strand>> strands;
    std::map<int, Strand *> processes_here;    ///< of those, the processes, by node
    std::map<uint32_t, Strand *> threads_here; ///< and the threads, by number, until they are in the agent
    std::map<uint32_t, int> directories;       ///< Surroundings::directories of the task that is about to end here
    bool agent_is_mapped = false;              ///< in this address space

    bool root_waits = false; ///< at the beginning, for what is done before it does anything
    bool has_own_namespaces() const { return namespace_flags || needs_own_clocks; }
    bool has_pid_namespace() const {
        return namespace_flags & CLONE_NEWPID || given_namespaces.has(tree::NamespaceKind::Pid);
    }
    bool has_user_namespace() const {
        return namespace_flags & CLONE_NEWUSER || given_namespaces.has(tree::NamespaceKind::User);
    }
    base::Pid real_pid(uint32_t number) const { return pids.outside(base::VPid(static_cast<pid_t>(number))); }
    /// What to put before a path of the tree; empty where its mounts are ours.
    std::string tree_root() const {
        return namespace_flags & CLONE_NEWNS || given_namespaces.has(tree::NamespaceKind::Mnt)
                   ? fmt::format("/proc/{}/root", real_root().value)
                   : std::string();
    }
    base::Pid real_root() const { return real_pid(checkpoint.root().pid); }

    /// What one process of the tree is called by another.
    pid_t seen_by(const plan::Node &observer, uint32_t number) const {
        return static_cast<pid_t>(checkpoint.numbers.seen_by(observer.pid, number));
    }

    const plan::TaskImage &task(const plan::Node &node) const {
        return checkpoint.tasks[static_cast<size_t>(node.task)];
    }
    const plan::AddressSpace &space(const plan::Node &node) const { return spaces[static_cast<size_t>(node.task)]; }
};

} // namespace restore
