// User namespaces: which ids of the namespace around it one has, and what it calls them.
//
// Every other namespace belongs to one, and what its tasks may do they may do by capabilities that count inside only.
// Images say ids as the root task's user namespace does. The restore makes that together with the root's others, whose
// owner it is thereby; who writes the maps is outside, with the right to all of the ids. Those that only tasks below
// the root live in are made by the root task before all others, and so are, from inside of them, the namespaces that
// belong to them.
#include "criu/resource/namespace/user_namespace.hh"

#include "criu/kernel/child.hh"
#include "criu/kernel/namespaces.hh"
#include "criu/parse/mountinfo.hh"
#include "criu/parse/one_line_files.hh"
#include "criu/resource/namespace/kinds.hh"

#include "userns.pb.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace resource {
namespace {

using Extents = std::vector<base::IdExtent>;

std::string file_of(base::Pid member, const char *name) {
    return fmt::format("/proc/{}/{}", member.value, name);
}

Result<Extents> read_map(base::Pid member, const char *name) {
    return parse::parse_id_map(TRY(kernel::read_file(AT_FDCWD, file_of(member, name).c_str())));
}

/// The kernel takes up to 340 lines of a map, in one write, up to a page.
Result<void> write_map(base::Pid member, const char *name, const Extents &extents) {
    if (extents.empty())
        return {};
    std::string text;
    for (const base::IdExtent &extent : extents)
        text += fmt::format("{} {} {}\n", extent.first, extent.lower, extent.count);
    auto written = kernel::write_file(AT_FDCWD, file_of(member, name).c_str(), text);
    if (written)
        return {};
    return base::fail(
        std::move(std::move(written).error().hint("the ids of the tree have to exist in the user namespace of the "
                                                  "tool, which needs CAP_SETUID and CAP_SETGID there")));
}

template <class List> Extents extents_of(const List &list) {
    Extents extents;
    for (const auto &extent : list)
        extents.push_back({extent.first(), extent.lower_first(), extent.count()});
    return extents;
}

/// The user namespace that a namespace belongs to, or that lies around a user namespace: its number on nsfs.
Result<uint64_t> owner_of(const tree::Namespace &ns) {
    constexpr unsigned long kGetOwner = 0xb701; // NS_GET_USERNS
    const base::UniqueFd fd = TRY(kernel::open_namespace(ns));
    const base::UniqueFd owner(ioctl(fd.get(), kGetOwner));
    struct stat st {};
    if (!owner || fstat(owner.get(), &st) < 0)
        return base::fail_sys(fmt::format("ask whose the {} namespace is", kernel::name_of(ns.kind)));
    return st.st_ino;
}

/// The euid of who has made a user namespace: in the one around it he has all rights over it.
Result<uint32_t> maker_of(const tree::Namespace &ns) {
    constexpr unsigned long kGetOwnerUid = 0xb704; // NS_GET_OWNER_UID
    const base::UniqueFd fd = TRY(kernel::open_namespace(ns));
    uid_t uid = 0;
    if (ioctl(fd.get(), kGetOwnerUid, &uid) < 0)
        return base::fail_sys("ask who has made a user namespace");
    return uid;
}

/// As the kernel tells them to us, `lower` is what our own namespace says; maps are written in the words of the one
/// around. Nothing where that has no such ids.
Result<Extents> said_by(const Extents &around, const Extents &extents) {
    Extents out;
    for (base::IdExtent extent : extents)
        while (extent.count) {
            const auto found = std::ranges::find_if(around, [&](const base::IdExtent &each) {
                return extent.lower >= each.lower && extent.lower - each.lower < each.count;
            });
            if (found == around.end())
                return base::unsupported("its ids are none of the user namespace around it");
            const uint32_t skipped = extent.lower - found->lower;
            const uint32_t count = std::min(extent.count, found->count - skipped);
            out.push_back({extent.first, found->first + skipped, count});
            extent.first += count, extent.lower += count, extent.count -= count;
        }
    return out;
}

Result<Extents> read_map_in(const tree::Namespace &ns, const tree::Namespace *around, const char *name) {
    Extents own = TRY(read_map(ns.member, name));
    if (!around || around->origin == tree::NamespaceOrigin::Host)
        return own;
    return said_by(TRY(read_map(around->member, name)), own);
}

} // namespace

Result<base::OwnerMaps> owner_maps(base::Pid member) {
    return base::OwnerMaps{base::IdMap(TRY(read_map(member, "uid_map"))),
                           base::IdMap(TRY(read_map(member, "gid_map")))};
}

Result<void> write_id_maps(const image::ImageDir &images, uint32_t id, base::Pid member) {
    const auto entry = TRY(images.read_one<img::userns_entry>(image::ImageKind::Userns, id));
    if (!entry)
        return base::bad_image(fmt::format("userns-{}.img is missing", id));
    if (entry->uid_map().empty() || entry->gid_map().empty())
        return base::bad_image(fmt::format("userns-{}.img: a user namespace without ids", id));
    TRY(write_map(member, "uid_map", extents_of(entry->uid_map())));
    if (entry->extension().denies_setgroups())
        TRY(kernel::write_file(AT_FDCWD, file_of(member, "setgroups").c_str(), "deny"));
    TRY(write_map(member, "gid_map", extents_of(entry->gid_map())));
    return write_map(member, "projid_map", extents_of(entry->extension().project_map()));
}

Result<void> become_root_inside() {
    const Extents users = TRY(parse::parse_id_map(TRY(kernel::read_file(AT_FDCWD, "/proc/self/uid_map"))));
    const Extents groups = TRY(parse::parse_id_map(TRY(kernel::read_file(AT_FDCWD, "/proc/self/gid_map"))));
    const auto root_of = [](const Extents &extents) {
        for (const base::IdExtent &extent : extents)
            if (extent.first == 0)
                return 0u;
        return extents.empty() ? 0u : extents.front().first;
    };
    const uint32_t user = root_of(users), group = root_of(groups);
    if (syscall(SYS_setgroups, 0, nullptr) < 0 && errno != EPERM) // EPERM: it denies that to all
        return base::fail_sys("leave the groups of the tool");
    if (syscall(SYS_setresgid, group, group, group) < 0 || syscall(SYS_setresuid, user, user, user) < 0)
        return base::fail_sys("become the root of the user namespace");
    prctl(PR_SET_DUMPABLE, 1); // a change of ids has made our files under /proc somebody else's
    return {};
}

namespace user_namespace {

// Who owns a namespace has rights over it: owned by another one it would come back with other rights.
Result<void> refuse_owner(const NamespaceCheckContext &context, const tree::Namespace &ns) {
    if (context.namespaces.find(tree::NamespaceKind::User, TRY(owner_of(ns))))
        return {};
    return base::unsupported(ns.kind == tree::NamespaceKind::User
                                 ? "no task of the tree lives in the user namespace around it"
                                 : "it belongs to a user namespace in which no task of the tree lives");
}

namespace {

bool is_of_root(const tree::Namespaces &namespaces, const tree::Namespace &ns) {
    return ns.id == namespaces.root_id(ns.kind);
}

/// The kernel lets nobody choose the number of a thread in a pid namespace over which he has no rights, and who has
/// rights over both cannot go into a user namespace with more than one thread.
Result<void> refuse_threads(const NamespaceCheckContext &context, const tree::Namespace &ns) {
    for (const tree::TaskFacts &task : context.tasks)
        if (!task.zombie && task.threads.size() > 1 && task.ns[tree::NamespaceKind::User] == ns.inode)
            return base::unsupported(
                fmt::format("task {} has several threads there, whose numbers outside the kernel lets nobody choose",
                            task.pid.value));
    return {};
}

/// Copied for another owner, a mount that shares becomes one that receives.
Result<void> refuse_shared_mounts(const NamespaceCheckContext &context, const tree::Namespace &ns) {
    for (const tree::Namespace &other : context.namespaces.all()) {
        if (other.kind != tree::NamespaceKind::Mnt || other.origin != tree::NamespaceOrigin::Ours ||
            TRY(owner_of(other)) != ns.inode)
            continue;
        const auto mounts =
            TRY(parse::parse_mountinfo(TRY(kernel::read_file(AT_FDCWD, file_of(other.member, "mountinfo").c_str()))));
        for (const parse::Mount &mount : mounts)
            if (mount.shared)
                return base::unsupported(
                    fmt::format("its mount {} shares what is mounted there with others", mount.mount_point));
    }
    return {};
}

} // namespace

Result<void> refuse(const NamespaceCheckContext &context, const tree::Namespace &ns) {
    if (is_of_root(context.namespaces, ns))
        return context.namespaces.root_has_own(tree::NamespaceKind::Pid) ? Result<void>{} : refuse_threads(context, ns);
    TRY(refuse_threads(context, ns));
    TRY(read_map_in(ns, context.namespaces.find(ns.kind, TRY(owner_of(ns))), "uid_map"));
    return refuse_shared_mounts(context, ns);
}

namespace {

Result<void> describe_below(NamespaceDumpContext &context, const tree::Namespace &ns, const tree::Namespace &around,
                            img::ext_user_namespace &out) {
    out.set_parent(around.id);
    out.set_owner_uid(context.images.owners().users.inside(TRY(maker_of(ns))));
    for (const tree::Namespace &other : context.namespaces.all())
        if (other.origin == tree::NamespaceOrigin::Ours && other.kind != tree::NamespaceKind::User &&
            TRY(owner_of(other)) == ns.inode)
            out.add_owns(other.id);
    return {};
}

} // namespace

Result<void> dump(NamespaceDumpContext &context, const tree::Namespace &ns) {
    const bool below = !is_of_root(context.namespaces, ns);
    const tree::Namespace *around = below ? context.namespaces.find(ns.kind, TRY(owner_of(ns))) : nullptr;
    img::userns_entry entry;
    const auto add = [](const Extents &extents, auto &&make) {
        for (const base::IdExtent &extent : extents) {
            auto *out = make();
            out->set_first(extent.first), out->set_lower_first(extent.lower), out->set_count(extent.count);
        }
    };
    add(TRY(read_map_in(ns, around, "uid_map")), [&] { return entry.add_uid_map(); });
    add(TRY(read_map_in(ns, around, "gid_map")), [&] { return entry.add_gid_map(); });
    add(TRY(read_map_in(ns, around, "projid_map")), [&] { return entry.mutable_extension()->add_project_map(); });
    const std::string setgroups = TRY(kernel::read_file(AT_FDCWD, file_of(ns.member, "setgroups").c_str()));
    if (setgroups.starts_with("deny"))
        entry.mutable_extension()->set_denies_setgroups(true);
    if (below)
        TRY(describe_below(context, ns, *around, *entry.mutable_extension()));
    return context.images.add(image::ImageKind::Userns, ns.id, entry);
}

namespace {

/// In a process of its own: goes to the namespace around, and makes one as whoever has made it. `group`: anyone who has
/// a name there.
Result<base::UniqueFd> make(int around, uint32_t maker, uint32_t group, int proc) {
    base::UniqueFd made;
    TRY(kernel::run_to_end([&]() -> Result<void> {
        if (group && syscall(SYS_setresgid, group, group, group) < 0)
            return base::fail_sys(fmt::format("become group {}", group));
        if (maker && (prctl(PR_SET_KEEPCAPS, 1) < 0 || syscall(SYS_setresuid, maker, maker, maker) < 0))
            return base::fail_sys(fmt::format("become user {}, who has made it", maker));
        TRY(kernel::raise_capabilities());
        if (around >= 0 && setns(around, CLONE_NEWUSER) < 0)
            return base::fail_sys("enter the user namespace around it");
        if (unshare(CLONE_NEWUSER) < 0)
            return base::fail_sys("unshare(CLONE_NEWUSER)");
        made = TRY(kernel::open_at(proc, "self/ns/user", O_RDONLY));
        return {};
    }));
    return made;
}

Result<void> write_maps_from_outside(const img::userns_entry &entry, int proc, const std::string &member) {
    const auto write = [&](const char *name, const Extents &extents) -> Result<void> {
        std::string text;
        for (const base::IdExtent &extent : extents)
            text += fmt::format("{} {} {}\n", extent.first, extent.lower, extent.count);
        return text.empty() ? Result<void>{} : kernel::write_file(proc, (member + "/" + name).c_str(), text);
    };
    TRY(write("uid_map", extents_of(entry.uid_map())));
    if (entry.extension().denies_setgroups())
        TRY(kernel::write_file(proc, (member + "/setgroups").c_str(), "deny"));
    TRY(write("gid_map", extents_of(entry.gid_map())));
    return write("projid_map", extents_of(entry.extension().project_map()));
}

/// Maps belong to a namespace, and are written through somebody in it, by somebody around it.
Result<void> write_maps(const img::userns_entry &entry, int ns, int around, int proc) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return base::fail_sys("socketpair");
    base::UniqueFd here(ends[0]), there(ends[1]);
    const pid_t member = fork();
    if (member < 0)
        return base::fail_sys("fork");
    if (member == 0) {
        here.reset();
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        char self[32] = "";
        const ssize_t length = readlinkat(proc, "self", self, sizeof self - 1);
        if (setns(ns, CLONE_NEWUSER) < 0 || length <= 0)
            _exit(1);
        prctl(PR_SET_DUMPABLE, 1);
        char done = 0;
        _exit(write(there.get(), self, static_cast<size_t>(length)) == length && read(there.get(), &done, 1) == 0 ? 0
                                                                                                                  : 1);
    }
    there.reset();
    char name[32] = "";
    Result<void> written = read(here.get(), name, sizeof name - 1) > 0
                               ? Result<void>{}
                               : base::fail(base::ErrorKind::System, "nobody can live in it");
    if (written)
        written = around < 0 ? write_maps_from_outside(entry, proc, name) : kernel::run_to_end([&]() -> Result<void> {
            if (setns(around, CLONE_NEWUSER) < 0)
                return base::fail_sys("enter the user namespace around it");
            return write_maps_from_outside(entry, proc, name);
        });
    here.reset();
    int status = 0;
    while (waitpid(member, &status, 0) < 0 && errno == EINTR) {
    }
    return written;
}

} // namespace

Result<base::UniqueFd> make_below(NamespaceFillContext &context) {
    const auto entry = TRY(context.images.read_one<img::userns_entry>(image::ImageKind::Userns, context.id));
    if (!entry || !entry->has_extension())
        return base::bad_image(fmt::format("userns-{}.img does not say how it was made", context.id));
    const auto parent = context.made.find(entry->extension().parent());
    const int around = parent == context.made.end() ? -1 : parent->second.get();
    const base::UniqueFd proc = TRY(kernel::open_at(AT_FDCWD, "/proc", O_PATH | O_DIRECTORY));
    uint32_t group = 0;
    if (around >= 0) {
        const auto owners = TRY(owner_maps_below(context.images, entry->extension().parent(), context.root_user));
        group = owners.groups.extents().empty() ? 0 : owners.groups.extents().front().lower;
    }
    base::UniqueFd made = TRY(make(around, entry->extension().owner_uid(), group, proc.get()));
    TRY(write_maps(*entry, made.get(), around, proc.get()));
    return made;
}

} // namespace user_namespace

Result<std::map<uint32_t, uint32_t>> read_owners(const image::ImageDir &images, std::span<const uint32_t> ids) {
    std::map<uint32_t, uint32_t> owners;
    for (uint32_t id : ids)
        for (const img::userns_entry &entry : TRY(images.read<img::userns_entry>(image::ImageKind::Userns, id)))
            for (uint32_t owned : entry.extension().owns())
                if (!owners.emplace(owned, id).second)
                    return base::bad_image(fmt::format("userns-{}.img: {} is another one's too", id, owned));
    return owners;
}

Result<base::OwnerMaps> owner_maps_below(const image::ImageDir &images, uint32_t id, uint32_t root) {
    constexpr int kMostLevels = 32;
    Extents users, groups;
    for (int level = 0; level < kMostLevels && id != root; level++) {
        const auto entry = TRY(images.read_one<img::userns_entry>(image::ImageKind::Userns, id));
        if (!entry || !entry->has_extension())
            return base::bad_image(fmt::format("userns-{}.img does not say what lies around it", id));
        const auto below = [&](const Extents &inner, const Extents &outer) {
            Extents joined;
            for (const base::IdExtent &each : outer)
                for (const base::IdExtent &deeper : inner) {
                    const uint64_t begin = std::max(each.first, deeper.lower);
                    const uint64_t end =
                        std::min(uint64_t{each.first} + each.count, uint64_t{deeper.lower} + deeper.count);
                    if (begin < end)
                        joined.push_back({static_cast<uint32_t>(deeper.first + (begin - deeper.lower)),
                                          static_cast<uint32_t>(each.lower + (begin - each.first)),
                                          static_cast<uint32_t>(end - begin)});
                }
            return joined;
        };
        users = level ? below(users, extents_of(entry->uid_map())) : extents_of(entry->uid_map());
        groups = level ? below(groups, extents_of(entry->gid_map())) : extents_of(entry->gid_map());
        id = entry->extension().parent();
    }
    return base::OwnerMaps{base::IdMap(std::move(users)), base::IdMap(std::move(groups))};
}

} // namespace resource
