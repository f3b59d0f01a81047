#include "criu/engine/restore/namespaces.hh"

#include "criu/engine/restore/network.hh"
#include "criu/engine/restore/page_reader.hh"
#include "criu/kernel/child.hh"
#include "criu/kernel/namespaces.hh"
#include "criu/kernel/proc_dir.hh"
#include "criu/parse/status.hh"
#include "criu/resource/namespace/namespace.hh"
#include "criu/resource/namespace/user_namespace.hh"

#include "mnt.pb.h"
#include <algorithm>
#include <fcntl.h>

#include <fmt/format.h>
#include <sched.h>
#include <set>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

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

/// The numbers of a task or thread, from our pid namespace inwards.
Result<std::vector<int32_t>> numbers_of(const kernel::ProcDir &task) {
    auto status = TRY(parse::parse_status(TRY(task.read_file("status"))));
    return status.ns_pid.empty() ? std::vector{status.pid} : std::move(status.ns_pid);
}

} // namespace

bool has_own(const plan::Checkpoint &checkpoint, tree::NamespaceKind kind) {
    const uint32_t root = id_of(checkpoint.root().ids, kind), tools = id_of(checkpoint.inventory.root_ids(), kind);
    if (kind == tree::NamespaceKind::Cgroup && !tools)
        return false; // older images do not say
    return root && root != tools;
}

Result<void> check_namespaces(const plan::Checkpoint &checkpoint, const resource::NamespaceOptions &options) {
    for (tree::NamespaceKind kind : tree::kAllNamespaceKinds) {
        const uint32_t root = id_of(checkpoint.root().ids, kind), host = id_of(checkpoint.inventory.root_ids(), kind);
        for (const plan::TaskImage &task : checkpoint.tasks) {
            const uint32_t id = id_of(task.ids, kind);
            if (task.dead() || id == root)
                continue;
            TRY_CTX(resource::check_nested(kind), fmt::format("ids-{}.img", task.pid));
            if (id == host)
                return base::unsupported(
                    fmt::format("task {} lived in the {} namespace of the tool, while the root of the tree did not",
                                task.pid, kernel::name_of(kind)));
        }
    }
    if (options.empty_net && !below(checkpoint, tree::NamespaceKind::Net).empty())
        return base::unsupported("--empty-ns net, while tasks lived in several network namespaces");
    return {};
}

std::vector<uint32_t> below(const plan::Checkpoint &checkpoint, tree::NamespaceKind kind) {
    std::set<uint32_t> ids;
    for (const plan::TaskImage &task : checkpoint.tasks)
        if (!task.dead())
            ids.insert(id_of(task.ids, kind));
    ids.erase(id_of(checkpoint.root().ids, kind));
    if (kind == tree::NamespaceKind::Time) // the parent of who lives in one of these makes it
        for (const plan::TaskImage &task : checkpoint.tasks)
            ids.erase(task.core().tc().ext().time_for_children());
    return {ids.begin(), ids.end()};
}

const plan::TaskImage &member_of(const plan::Checkpoint &checkpoint, tree::NamespaceKind kind, uint32_t id) {
    return *std::ranges::find_if(
        checkpoint.tasks, [&](const plan::TaskImage &task) { return !task.dead() && id_of(task.ids, kind) == id; });
}

bool has_any_below(const plan::Checkpoint &checkpoint) {
    return std::ranges::any_of(tree::kAllNamespaceKinds,
                               [&](tree::NamespaceKind kind) { return !below(checkpoint, kind).empty(); }) ||
           std::ranges::any_of(checkpoint.tasks, [](const plan::TaskImage &task) {
               return task.core().tc().ext().has_time_for_children();
           });
}

bool has_own_clocks(const plan::Checkpoint &checkpoint) {
    return has_own(checkpoint, tree::NamespaceKind::Time);
}

uint32_t number_in_images(const plan::TaskImage &task, tree::NamespaceKind kind) {
    return id_of(task.ids, kind);
}

uint64_t namespace_flags(const plan::Checkpoint &checkpoint, const GivenNamespaces &given) {
    uint64_t flags = 0;
    for (tree::NamespaceKind kind : tree::kAllNamespaceKinds)
        // The clocks have to be set before anybody is inside, and the group be right: those are made by fill().
        if (kind != tree::NamespaceKind::Time && kind != tree::NamespaceKind::Cgroup && has_own(checkpoint, kind) &&
            !given.has(kind))
            flags |= kernel::clone_flag_of(kind);
    return flags;
}

Result<void> bring_into_namespaces(const RestoreContext &context, Pid root, base::Journal &journal) {
    for (const resource::NamespaceKindRow &row : resource::namespace_kinds()) {
        if (!row.bring || !has_own(context.checkpoint, row.kind) || context.given_namespaces.has(row.kind))
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

namespace {

/// The thread's own, of one kind.
Result<base::UniqueFd> own_namespace(const RestoreContext &context, tree::NamespaceKind kind) {
    const std::string path = fmt::format("thread-self/ns/{}", kernel::name_of(kind));
    base::UniqueFd fd(openat(context.own_proc.get(), path.c_str(), O_RDONLY | O_CLOEXEC));
    return fd ? Result<base::UniqueFd>(std::move(fd)) : base::fail_sys(path);
}

/// One that belongs to a user namespace is made by who lives in that.
Result<base::UniqueFd> make_for(const RestoreContext &context, tree::NamespaceKind kind, int owner) {
    base::UniqueFd made;
    TRY(kernel::run_to_end([&]() -> Result<void> {
        if (setns(owner, CLONE_NEWUSER) < 0 || unshare(static_cast<int>(kernel::clone_flag_of(kind))) < 0)
            return base::fail_sys("make it for another user namespace");
        made = TRY(own_namespace(context, kind));
        return {};
    }));
    return made;
}

/// Makes the namespaces of a kind that tasks below the root live in, empty.
Result<void> make_below(RestoreContext &context, tree::NamespaceKind kind, std::span<const uint32_t> ids) {
    for (uint32_t id : ids) {
        if (const auto given = context.given_namespaces.below.find(id); given != context.given_namespaces.below.end()) {
            context.namespaces[id].reset(fcntl(given->second.get(), F_DUPFD_CLOEXEC, 0));
            continue;
        }
        if (const auto owner = context.owners.find(id); owner != context.owners.end()) {
            context.namespaces[id] = TRY(make_for(context, kind, context.namespaces.at(owner->second).get()));
            if (kind == tree::NamespaceKind::Net)
                TRY(kernel::inside(std::array{context.namespaces[id].get()},
                                   [&] { return lock_network_below(context, id); }));
            continue;
        }
        TRY(kernel::inside({}, [&]() -> Result<void> {
            if (unshare(static_cast<int>(kernel::clone_flag_of(kind))) < 0)
                return base::fail_sys("unshare");
            context.namespaces[id] = TRY(own_namespace(context, kind));
            return kind == tree::NamespaceKind::Net ? lock_network_below(context, id) : Result<void>{};
        }));
    }
    return {};
}

Result<void> fill_kind(RestoreContext &context, const resource::NamespaceKindRow &row,
                       resource::NamespaceFillContext fill) {
    const std::vector<uint32_t> ids = below(context.checkpoint, row.kind);
    if (row.nesting == resource::Nesting::Each && !row.make_below)
        TRY(make_below(context, row.kind, ids));
    if (row.kind == tree::NamespaceKind::Net && !ids.empty() && fill.id) // those below may have links to the root's
        context.namespaces[fill.id] = TRY(own_namespace(context, row.kind));
    const bool given = context.given_namespaces.has(row.kind);
    const bool own = has_own(context.checkpoint, row.kind) && !given;
    const bool continues_clocks = row.kind == tree::NamespaceKind::Time && context.needs_own_clocks && !given;
    if (row.nesting == resource::Nesting::All)
        fill.below = ids;
    if ((own || continues_clocks) && row.fill)
        TRY(row.fill(fill));
    else if (row.fill_below && !ids.empty())
        TRY(row.fill_below(fill));
    if (row.nesting != resource::Nesting::Each)
        return {};
    for (uint32_t id : ids) {
        if (context.given_namespaces.below.contains(id))
            continue;
        fill.id = id;
        fill.is_below = true;
        if (row.make_below) {
            context.namespaces[id] = TRY(row.make_below(fill));
            continue;
        }
        const int fd = context.namespaces.at(id).get();
        TRY(kernel::inside(std::array{fd}, [&] { return row.fill(fill); }));
    }
    return {};
}

} // namespace

Result<void> fill_namespaces(RestoreContext &context, resource::SegmentSet &segments, resource::Masters &masters) {
    context.own_proc.reset(open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!context.own_proc)
        return base::fail_sys("open /proc");
    for (const resource::NamespaceKindRow &row : resource::namespace_kinds()) {
        if (!row.fill && !row.make_below)
            continue;
        const bool own = has_own(context.checkpoint, row.kind);
        const resource::NamespaceFillContext fill{
            .outside = context.outside,
            .images = context.checkpoint.images(),
            .log = context.log,
            .options = context.request.namespaces,
            .id = own ? id_of(context.checkpoint.root().ids, row.kind) : 0,
            .root_user = id_of(context.checkpoint.root().ids, tree::NamespaceKind::User),
            .below = {},
            .made = context.namespaces,
            .owners = context.owners,
            .segments = segments,
            .fill_contents = [&](uint64_t id, std::byte *memory,
                                 uint64_t size) { return fill_shared(context.checkpoint.chain, id, memory, size); },
            .masters = masters,
            .later = context.later_mounts};
        TRY_CTX(fill_kind(context, row, fill), fmt::format("{} namespace", kernel::name_of(row.kind)));
    }
    for (const resource::mounts::LaterMount &later : context.later_mounts)
        if (!context.checkpoint.numbers.find(later.awaits))
            return base::bad_image(fmt::format("{}: no task lives in the pid namespace that it shows", later.name));
    return {};
}

Result<void> enter_namespaces(const RestoreContext &context, const plan::TaskImage &task,
                              const plan::TaskImage &parent) {
    for (tree::NamespaceKind kind : tree::kAllNamespaceKinds) {
        const uint32_t id = id_of(task.ids, kind);
        if (id == id_of(parent.ids, kind) || kind == tree::NamespaceKind::Pid || kind == tree::NamespaceKind::User ||
            kind == tree::NamespaceKind::Mnt)
            continue; // of pids it was born into its own; who goes to the others loses rights, or sight of /proc: later
        if (kind == tree::NamespaceKind::Time && id == parent.core().tc().ext().time_for_children())
            continue; // as well
        const auto found = context.namespaces.find(id);
        if (found == context.namespaces.end() ||
            setns(found->second.get(), static_cast<int>(kernel::clone_flag_of(kind))) < 0)
            return base::fail_sys(fmt::format("enter its {} namespace", kernel::name_of(kind)));
    }
    return {};
}

Result<void> enter_mounts(RestoreContext &context, const plan::TaskImage &task) {
    const uint32_t id = task.ids.mnt_ns_id(), roots = context.checkpoint.root().ids.mnt_ns_id();
    if (id == (context.mount_namespace ? context.mount_namespace : roots))
        return {};
    const auto found = context.namespaces.find(id);
    if (found == context.namespaces.end() || setns(found->second.get(), CLONE_NEWNS) < 0)
        return base::fail_sys("enter its mnt namespace");
    context.mount_namespace = id;
    return {};
}

Result<void> take_on_user_namespace(const img::creds_entry &creds, int ns) {
    // As the task has them, whether or not they have names there: nobody could take them on inside.
    if (syscall(SYS_setgroups, static_cast<size_t>(creds.groups_size()), creds.groups().data()) < 0 ||
        syscall(SYS_setresgid, creds.gid(), creds.egid(), creds.sgid()) < 0 || prctl(PR_SET_KEEPCAPS, 1) < 0 ||
        syscall(SYS_setresuid, creds.uid(), creds.euid(), creds.suid()) < 0)
        return base::fail_sys("take on its users and groups");
    TRY(kernel::raise_capabilities());
    if (setns(ns, CLONE_NEWUSER) < 0)
        return base::fail_sys("enter its user namespace");
    prctl(PR_SET_DUMPABLE, 1);
    return {};
}

Result<std::map<uint32_t, std::string>> mounts_below(const RestoreContext &context) {
    std::map<uint32_t, std::string> roots;
    for (uint32_t id : below(context.checkpoint, tree::NamespaceKind::Mnt)) {
        const Pid member = context.real_pid(member_of(context.checkpoint, tree::NamespaceKind::Mnt, id).pid);
        for (const img::mnt_entry &mount :
             TRY(context.checkpoint.images().read<img::mnt_entry>(image::ImageKind::Mnts, id)))
            roots[mount.mnt_id()] = fmt::format("/proc/{}/root", member.value);
    }
    return roots;
}

Result<tree::PidMap> find_pids(Pid root) {
    tree::PidMap map = tree::PidMap::empty();
    const size_t level = TRY(numbers_of(TRY(kernel::ProcDir::open(root)))).size() - 1;
    std::vector<Pid> tasks{root};
    for (size_t i = 0; i < tasks.size(); i++) {
        const auto task = TRY(kernel::ProcDir::open(tasks[i]));
        for (Pid tid : TRY(task.list_tasks()))
            if (const auto all = TRY(numbers_of(TRY(task.open_thread(tid)))); level < all.size())
                map.add(tid, base::VPid(all[level]));
        const auto children = kernel::children_of(tasks[i]);
        tasks.insert(tasks.end(), children.begin(), children.end());
    }
    return map;
}

} // namespace restore
