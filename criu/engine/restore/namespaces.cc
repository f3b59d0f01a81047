#include "criu/engine/restore/namespaces.hh"

#include "criu/engine/restore/page_reader.hh"
#include "criu/kernel/namespaces.hh"
#include "criu/kernel/proc_dir.hh"
#include "criu/parse/status.hh"
#include "criu/resource/namespace/namespace.hh"
#include "criu/resource/namespace/user_namespace.hh"

#include <fmt/format.h>

namespace restore {
namespace {

using base::Pid;

/// What the image knows as the number of a task's namespace.
uint32_t id_of(const img::task_kobj_ids_entry &ids, tree::NamespaceKind kind) {
    switch (kind) {
    case tree::NamespaceKind::Pid:
        return ids.pid_ns_id();
    case tree::NamespaceKind::Net:
        return ids.net_ns_id();
    case tree::NamespaceKind::Ipc:
        return ids.ipc_ns_id();
    case tree::NamespaceKind::Uts:
        return ids.uts_ns_id();
    case tree::NamespaceKind::Time:
        return ids.time_ns_id();
    case tree::NamespaceKind::Mnt:
        return ids.mnt_ns_id();
    case tree::NamespaceKind::User:
        return ids.user_ns_id();
    case tree::NamespaceKind::Cgroup:
        return ids.cgroup_ns_id();
    }
    return 0;
}

/// The number of a task or thread in its own namespace.
Result<base::VPid> inner_number(const kernel::ProcDir &task) {
    const auto status = TRY(parse::parse_status(TRY(task.read_file("status"))));
    return base::VPid(status.ns_pid.empty() ? status.pid : status.ns_pid.back());
}

} // namespace

bool has_own(const plan::Checkpoint &checkpoint, tree::NamespaceKind kind) {
    const uint32_t root = id_of(checkpoint.root().ids, kind), tools = id_of(checkpoint.inventory.root_ids(), kind);
    if (kind == tree::NamespaceKind::Cgroup && !tools)
        return false; // older images do not say
    return root && root != tools;
}

Result<void> check_namespaces(const plan::Checkpoint &checkpoint) {
    for (tree::NamespaceKind kind : tree::kAllNamespaceKinds) {
        for (const plan::TaskImage &task : checkpoint.tasks)
            if (!task.dead() && id_of(task.ids, kind) != id_of(checkpoint.root().ids, kind))
                return base::unsupported(fmt::format("task {} lived in another {} namespace than the root of the tree",
                                                     task.pid, kernel::name_of(kind)));
    }
    return {};
}

bool has_own_clocks(const plan::Checkpoint &checkpoint) {
    return has_own(checkpoint, tree::NamespaceKind::Time);
}

uint64_t namespace_flags(const plan::Checkpoint &checkpoint) {
    uint64_t flags = 0;
    for (tree::NamespaceKind kind : tree::kAllNamespaceKinds)
        // The clocks have to be set before anybody is inside, and the group be right: those are made by fill().
        if (kind != tree::NamespaceKind::Time && kind != tree::NamespaceKind::Cgroup && has_own(checkpoint, kind))
            flags |= kernel::clone_flag_of(kind);
    return flags;
}

Result<void> bring_into_namespaces(const RestoreContext &context, Pid root, base::Journal &journal) {
    for (const resource::NamespaceKindRow &row : resource::namespace_kinds()) {
        if (!row.bring || !has_own(context.checkpoint, row.kind))
            continue;
        const base::UniqueFd fd = TRY(kernel::open_namespace(root, row.kind));
        resource::NamespaceBringContext bring{.images = context.checkpoint.images(),
                                              .log = context.log,
                                              .options = context.request.namespaces,
                                              .id = id_of(context.checkpoint.root().ids, row.kind),
                                              .fd = fd.get(),
                                              .journal = journal};
        TRY_CTX(row.bring(bring), fmt::format("{} namespace", kernel::name_of(row.kind)));
    }
    return {};
}

Result<void> give_ids(const RestoreContext &context) {
    if (!(context.namespace_flags & CLONE_NEWUSER))
        return {};
    return resource::write_id_maps(context.checkpoint.images(),
                                   id_of(context.checkpoint.root().ids, tree::NamespaceKind::User),
                                   context.rendezvous.root());
}

Result<void> fill_namespaces(const RestoreContext &context, resource::SegmentSet &segments,
                             resource::Masters &masters) {
    for (const resource::NamespaceKindRow &row : resource::namespace_kinds()) {
        const bool own = has_own(context.checkpoint, row.kind);
        const bool continues_clocks = row.kind == tree::NamespaceKind::Time && context.needs_own_clocks;
        if (!row.fill || (!own && !continues_clocks))
            continue;
        resource::NamespaceFillContext fill{
            .outside = context.outside,
            .images = context.checkpoint.images(),
            .log = context.log,
            .options = context.request.namespaces,
            .id = own ? id_of(context.checkpoint.root().ids, row.kind) : 0,
            .segments = segments,
            .fill_contents = [&](uint64_t id, std::byte *memory,
                                 uint64_t size) { return fill_shared(context.checkpoint.chain, id, memory, size); },
            .masters = masters};
        TRY_CTX(row.fill(fill), fmt::format("{} namespace", kernel::name_of(row.kind)));
    }
    return {};
}

Result<tree::PidMap> find_pids(Pid root) {
    tree::PidMap map = tree::PidMap::empty();
    std::vector<Pid> tasks{root};
    for (size_t i = 0; i < tasks.size(); i++) {
        const auto task = TRY(kernel::ProcDir::open(tasks[i]));
        for (Pid tid : TRY(task.list_tasks()))
            map.add(tid, TRY(inner_number(TRY(task.open_thread(tid)))));
        const auto children = kernel::children_of(tasks[i]);
        tasks.insert(tasks.end(), children.begin(), children.end());
    }
    return map;
}

} // namespace restore
