// The namespaces of a tree as values. A task does not live "where the tool lives": it lives in a set of namespaces, and
// the tool's own are one such set, whose origin is Host.
//
// Images number namespaces per checkpoint, by first appearance over all kinds, the tool's own first: CRIU finds a
// namespace by its number alone, and takes a task for one of the host's where its number is that of the inventory.
#pragma once

#include "base/ids.hh"

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace tree {

/// In the order in which CRIU numbers those of one task.
enum class NamespaceKind : uint8_t { Pid, Net, Ipc, Uts, Time, Mnt, User, Cgroup };
inline constexpr std::array kAllNamespaceKinds = {NamespaceKind::Pid,  NamespaceKind::Net,   NamespaceKind::Ipc,
                                                  NamespaceKind::Uts,  NamespaceKind::Time,  NamespaceKind::Mnt,
                                                  NamespaceKind::User, NamespaceKind::Cgroup};

/// Inode numbers of one task's namespaces on nsfs; 0 where the kernel lacks the kind or the task has none any more.
struct NamespaceInodes {
    std::array<uint64_t, kAllNamespaceKinds.size()> of{};
    uint64_t pid_for_children = 0, time_for_children = 0;

    uint64_t operator[](NamespaceKind kind) const { return of[static_cast<size_t>(kind)]; }
    uint64_t &operator[](NamespaceKind kind) { return of[static_cast<size_t>(kind)]; }
};

enum class NamespaceOrigin {
    Host,     ///< the tool's own: recorded, not filled
    Ours,     ///< of the tree alone: saved and made again
    External, ///< kept from the caller, who hands it over at the restore under `key`
};

struct Namespace {
    NamespaceKind kind{};
    uint64_t inode = 0;
    uint32_t id = 0; ///< in images
    NamespaceOrigin origin = NamespaceOrigin::Host;
    std::string key{}; ///< of an external one
    /// A task that lives in it: the way into it; of the host's the tool itself. In a time namespace perhaps only its
    /// children will.
    base::Pid member{};
};

/// All namespaces of a tree, the tool's own first.
class Namespaces {
public:
    Namespaces() = default;
    /// `host`: those of the tool, whose pid is `self`.
    Namespaces(const NamespaceInodes &host, base::Pid self) { number(host, self, NamespaceOrigin::Host); }

    /// Numbers those of a task that are new. The first task is the root.
    void add(const NamespaceInodes &task, base::Pid member) {
        if (!root_)
            root_ = task;
        number(task, member, NamespaceOrigin::Ours);
    }

    /// The caller keeps it: nothing of it is saved. Not of the tool's own, which nothing is saved of anyway.
    void set_external(NamespaceKind kind, uint64_t inode, const std::string &key) {
        for (Namespace &each : all_)
            if (each.kind == kind && each.inode == inode && each.origin == NamespaceOrigin::Ours)
                each.origin = NamespaceOrigin::External, each.key = key;
    }

    const Namespace *find(NamespaceKind kind, uint64_t inode) const {
        for (const Namespace &each : all_)
            if (each.kind == kind && each.inode == inode)
                return &each;
        return nullptr;
    }
    /// The number in images; 0 where there is none.
    uint32_t id_of(NamespaceKind kind, uint64_t inode) const {
        const Namespace *found = find(kind, inode);
        return found ? found->id : 0;
    }
    /// The root task's; null where the kernel lacks the kind.
    const Namespace *of_root(NamespaceKind kind) const { return root_ ? find(kind, (*root_)[kind]) : nullptr; }
    uint32_t root_id(NamespaceKind kind) const {
        const Namespace *found = of_root(kind);
        return found ? found->id : 0;
    }
    bool root_has_own(NamespaceKind kind) const {
        const Namespace *found = of_root(kind);
        return found && found->origin != NamespaceOrigin::Host;
    }
    /// The tool's own.
    uint32_t host_id(NamespaceKind kind) const {
        for (const Namespace &each : all_)
            if (each.kind == kind && each.origin == NamespaceOrigin::Host)
                return each.id;
        return 0;
    }
    std::span<const Namespace> all() const { return all_; }

private:
    void number(const NamespaceInodes &inodes, base::Pid member, NamespaceOrigin origin) {
        for (NamespaceKind kind : kAllNamespaceKinds) {
            number(kind, inodes[kind], member, origin);
            if (kind == NamespaceKind::Time)
                number(kind, inodes.time_for_children, member, origin);
        }
    }
    void number(NamespaceKind kind, uint64_t inode, base::Pid member, NamespaceOrigin origin) {
        if (inode && !find(kind, inode))
            all_.push_back({.kind = kind,
                            .inode = inode,
                            .id = static_cast<uint32_t>(all_.size()) + 1,
                            .origin = origin,
                            .member = member});
    }

    std::vector<Namespace> all_;
    std::optional<NamespaceInodes> root_;
};

} // namespace tree
