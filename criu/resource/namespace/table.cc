// The list of all kinds of namespaces, and the loops over it.
#include "criu/resource/namespace/kinds.hh"

#include "criu/kernel/namespaces.hh"

#include "netdev.pb.h"
#include "pidns.pb.h"

#include <algorithm>
#include <fmt/format.h>

namespace resource {
namespace {

// A name is resolved where the hostname, the addresses and the mounts are what they were: hence this order.
constexpr NamespaceKindRow kNamespaceKinds[] = {
    {.kind = tree::NamespaceKind::User,
     .refuse = user_namespace::refuse,
     .dump = user_namespace::dump,
     .make_below = user_namespace::make_below,
     .nesting = Nesting::Each},
    {.kind = tree::NamespaceKind::Pid,
     .refuse = pid_namespace::refuse,
     .dump = pid_namespace::dump,
     .nesting = Nesting::Born},
    {.kind = tree::NamespaceKind::Time,
     .refuse = time_namespace::refuse,
     .dump = time_namespace::dump,
     .fill = time_namespace::fill,
     .make_below = time_namespace::make_below,
     .nesting = Nesting::Each},
    {.kind = tree::NamespaceKind::Cgroup, .refuse = nullptr, .fill = cgroup_namespace::fill},
    {.kind = tree::NamespaceKind::Uts,
     .refuse = nullptr,
     .dump = uts_namespace::dump,
     .fill = uts_namespace::fill,
     .nesting = Nesting::Each},
    {.kind = tree::NamespaceKind::Ipc,
     .refuse = nullptr,
     .dump = ipc_namespace::dump,
     .fill = ipc_namespace::fill,
     .nesting = Nesting::Each},
    {.kind = tree::NamespaceKind::Net,
     .refuse = net_namespace::refuse,
     .dump = net_namespace::dump,
     .bring = net_namespace::bring,
     .fill = net_namespace::fill,
     .nesting = Nesting::Each},
    {.kind = tree::NamespaceKind::Mnt,
     .refuse = mnt_namespace::refuse,
     .dump = mnt_namespace::dump,
     .fill = mnt_namespace::fill,
     .fill_below = mnt_namespace::fill_below,
     .nesting = Nesting::All},
};
static_assert(std::size(kNamespaceKinds) == tree::kAllNamespaceKinds.size());

const NamespaceKindRow &row_of(tree::NamespaceKind kind) {
    return *std::ranges::find(kNamespaceKinds, kind, &NamespaceKindRow::kind);
}

std::string describe(const tree::Namespace &ns) {
    return fmt::format("it lives in a {} namespace of its own ({}:[{}])", kernel::name_of(ns.kind),
                       kernel::name_of(ns.kind), ns.inode);
}

Result<void> check_nesting(const tree::Namespaces &namespaces, const tree::Namespace &ns) {
    const tree::Namespace *root = namespaces.of_root(ns.kind);
    if ((root && root->inode == ns.inode) || row_of(ns.kind).nesting != Nesting::Never)
        return {};
    return base::unsupported("which the root of the tree does not share: nested namespaces are not saved yet");
}

} // namespace

std::span<const NamespaceKindRow> namespace_kinds() {
    return kNamespaceKinds;
}

Result<void> check_namespace(const NamespaceCheckContext &context, const tree::Namespace &ns) {
    if (ns.origin == tree::NamespaceOrigin::Host)
        return {};
    if (ns.origin == tree::NamespaceOrigin::External && ns.kind == tree::NamespaceKind::Net)
        return {};
    TRY_CTX(check_nesting(context.namespaces, ns), describe(ns));
    if (ns.origin == tree::NamespaceOrigin::Ours)
        TRY_CTX(user_namespace::refuse_owner(context, ns), describe(ns));
    if (auto refuse = row_of(ns.kind).refuse; refuse && ns.origin != tree::NamespaceOrigin::External)
        TRY_CTX(refuse(context, ns), describe(ns));
    return {};
}

namespace {

/// Made by itself, which is to be its parent then too, and with it everybody who lives there.
Result<void> check_time_of_children(std::span<const tree::TaskFacts> tasks, const tree::TaskFacts &task) {
    const uint64_t next = task.ns.time_for_children, own = task.ns[tree::NamespaceKind::Time];
    if (!next || next == own)
        return {};
    for (const tree::TaskFacts &other : tasks) {
        const auto parent = std::ranges::find(tasks, other.parent, &tree::TaskFacts::pid);
        if (!other.zombie && other.pid != task.pid && other.ns[tree::NamespaceKind::Time] != next &&
            other.ns.time_for_children == next)
            return base::unsupported(fmt::format("its next child would live in a time namespace that only the next "
                                                 "child of task {} does as well",
                                                 other.pid.value));
        if (other.ns[tree::NamespaceKind::Time] == next &&
            (parent == tasks.end() || (parent->pid != task.pid && parent->ns[tree::NamespaceKind::Time] != next)))
            return base::unsupported(
                fmt::format("task {} lives in the time namespace of its children, and is none", other.pid.value));
    }
    return {};
}

} // namespace

Result<void> check_children(std::span<const tree::TaskFacts> tasks, const tree::TaskFacts &task) {
    for (const tree::ThreadFacts &thread : task.threads)
        if (thread.pid_namespace_of_children && thread.pid_for_children->value == 0)
            return base::unsupported(
                fmt::format("the next child of thread {} would live in another pid namespace (pid:[{}]), whose init "
                            "has ended or is outside of the tree",
                            thread.tid.value, thread.pid_namespace_of_children));
    return check_time_of_children(tasks, task);
}

Result<void> check_nested(tree::NamespaceKind kind) {
    if (row_of(kind).nesting == Nesting::Never)
        return base::unsupported(fmt::format("one of its tasks lived in another {} namespace than the root of the tree",
                                             kernel::name_of(kind)));
    return {};
}

/// Of what the caller keeps only the name that he has given it.
Result<void> dump_external(NamespaceDumpContext &context, const tree::Namespace &ns) {
    if (ns.kind == tree::NamespaceKind::Net) {
        img::netns_entry entry;
        entry.set_ext_key(ns.key);
        return context.images.add(image::ImageKind::Netns, ns.id, entry);
    }
    img::pidns_entry entry;
    entry.set_ext_key(ns.key);
    return context.images.add(image::ImageKind::Pidns, ns.id, entry);
}

Result<void> dump_namespaces(NamespaceDumpContext &context) {
    for (const tree::Namespace &ns : context.namespaces.all())
        if (ns.origin == tree::NamespaceOrigin::External)
            TRY(dump_external(context, ns));
    for (const tree::Namespace &ns : context.namespaces.all())
        if (auto dump = row_of(ns.kind).dump; dump && ns.origin == tree::NamespaceOrigin::Ours)
            TRY_CTX(dump(context, ns), fmt::format("{} namespace", kernel::name_of(ns.kind)));
    return {};
}

} // namespace resource
