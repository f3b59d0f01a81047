// Pid namespaces hold nothing but numbers. Who has which is in pstree.img, as the root task's namespace sees it; for
// each namespace that only tasks below the root live in, pidns-N.img has the number inside beside it. One lives as long
// as its init, which has to be in the tree.
#include "criu/kernel/namespaces.hh"
#include "criu/resource/namespace/kinds.hh"

#include "pidns.pb.h"

#include <algorithm>
#include <fmt/format.h>
#include <set>
#include <sys/ioctl.h>
#include <sys/stat.h>

namespace resource::pid_namespace {
namespace {

bool is_of_root(const tree::Namespaces &namespaces, const tree::Namespace &ns) {
    return ns.id == namespaces.root_id(ns.kind);
}

/// Of those that the tree lives in the one around it; absent where that is none of them.
Result<const tree::Namespace *> around(const tree::Namespaces &namespaces, const tree::Namespace &ns) {
    constexpr unsigned long kGetParent = 0xb702; // NS_GET_PARENT
    const base::UniqueFd fd = TRY(kernel::open_namespace(ns.member, ns.kind));
    const base::UniqueFd parent(ioctl(fd.get(), kGetParent));
    struct stat st {};
    if (!parent || fstat(parent.get(), &st) < 0)
        return base::fail_sys("ask for the pid namespace around it");
    return namespaces.find(ns.kind, st.st_ino);
}

Result<void> refuse_of_root(const NamespaceCheckContext &context, const tree::Namespace &ns) {
    const tree::TaskFacts &root = context.tasks.front();
    if (root.vpid.value == 1)
        return {};
    return base::fail(
        base::Error(
            base::ErrorKind::Unsupported,
            fmt::format("whose init is outside of the tree (the root of the tree has pid {} in it)", root.vpid.value))
            .hint(fmt::format("dump the whole namespace: -t with the pid of its init; or leave the namespace to the "
                              "caller: --external pid[{}]:KEY",
                              ns.inode)));
}

/// What the namespace calls the tasks that it can see.
class Table {
public:
    Table(size_t depth, img::ext_pid_namespace &out) : depth_(depth), out_(out) {}

    void add(base::VPid number, std::span<const int32_t> inner) {
        if (inner.size() < depth_ || inner[depth_ - 1] == 0 || number.value == 0 || !known_.insert(number).second)
            return;
        img::ext_number &entry = *out_.add_numbers();
        entry.set_number(static_cast<uint32_t>(number.value));
        entry.set_inner(static_cast<uint32_t>(inner[depth_ - 1]));
    }

private:
    size_t depth_;
    img::ext_pid_namespace &out_;
    std::set<base::VPid> known_;
};

/// Whether a namespace is another one or lies in it.
Result<bool> lies_in(const tree::Namespaces &namespaces, const tree::Namespace *ns, const tree::Namespace &outer) {
    while (ns && ns->id != outer.id) {
        if (is_of_root(namespaces, *ns))
            return false;
        ns = TRY(around(namespaces, *ns));
    }
    return ns != nullptr;
}

} // namespace

Result<void> refuse(const NamespaceCheckContext &context, const tree::Namespace &ns) {
    if (is_of_root(context.namespaces, ns))
        return refuse_of_root(context, ns);
    const bool has_init = std::ranges::any_of(context.tasks, [&](const tree::TaskFacts &task) {
        return task.ns[ns.kind] == ns.inode && !task.inner.empty() && task.inner.back() == 1;
    });
    if (!has_init || !TRY(around(context.namespaces, ns)))
        return base::fail(base::Error(base::ErrorKind::Unsupported, "whose init is outside of the tree")
                              .hint("dump a tree that holds the init of the namespace"));
    return {};
}

Result<void> dump(NamespaceDumpContext &context, const tree::Namespace &ns) {
    if (is_of_root(context.namespaces, ns))
        return {};
    img::pidns_entry entry;
    img::ext_pid_namespace &out = *entry.mutable_extension();
    out.set_parent(TRY(around(context.namespaces, ns))->id);
    const auto member =
        std::ranges::find_if(context.tasks, [&](const tree::TaskFacts &task) { return task.ns[ns.kind] == ns.inode; });
    Table table(member->inner.size(), out);
    std::map<uint64_t, bool> inside; // namespace of a task -> whether it lies in this one
    for (const tree::TaskFacts &task : context.tasks) {
        const uint64_t home = task.ns[ns.kind];
        if (const auto [known, is_new] = inside.try_emplace(home); is_new)
            known->second = TRY(lies_in(context.namespaces, context.namespaces.find(ns.kind, home), ns));
        if (!inside.at(home))
            continue;
        table.add(task.vpid, task.inner);
        table.add(task.vgroup, task.inner_group);
        table.add(task.vsession, task.inner_session);
        for (const tree::ThreadFacts &thread : task.threads) {
            const auto &all = thread.status.ns_pid;
            table.add(thread.vtid, std::span(all).last(std::min(all.size(), task.inner.size())));
        }
    }
    return context.images.add(image::ImageKind::Pidns, ns.id, entry);
}

} // namespace resource::pid_namespace
