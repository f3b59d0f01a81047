// User namespaces: which ids of the namespace around it one has, and what it calls them.
//
// Everything else of such a tree belongs to it: its other namespaces are owned by this one, and what its tasks may do
// they may do by capabilities that count inside only. Images say ids as the tree does. The restore makes it together
// with the others, whose owner it is thereby; who writes the maps is outside, with the right to all of the ids.
#include "criu/resource/namespace/user_namespace.hh"

#include "criu/kernel/namespaces.hh"
#include "criu/parse/one_line_files.hh"
#include "criu/resource/namespace/kinds.hh"

#include "userns.pb.h"

#include <cerrno>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
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

/// The user namespace that a namespace belongs to: its number on nsfs.
Result<uint64_t> owner_of(const tree::Namespace &ns) {
    constexpr unsigned long kGetOwner = 0xb701; // NS_GET_USERNS
    const base::UniqueFd fd = TRY(kernel::open_namespace(ns.member, ns.kind));
    const base::UniqueFd owner(ioctl(fd.get(), kGetOwner));
    struct stat st {};
    if (!owner || fstat(owner.get(), &st) < 0)
        return base::fail_sys(fmt::format("ask whose the {} namespace is", kernel::name_of(ns.kind)));
    return st.st_ino;
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

// Whoever owns a namespace has rights over it: owned by another one it would come back with other rights.
Result<void> refuse(const NamespaceCheckContext &context, const tree::Namespace &ns) {
    for (const tree::Namespace &other : context.namespaces.all()) {
        if (other.origin != tree::NamespaceOrigin::Ours || other.kind == tree::NamespaceKind::User)
            continue;
        if (TRY(owner_of(other)) != ns.inode)
            return base::unsupported(
                fmt::format("and in a {} namespace of its own (of task {}) that belongs to another "
                            "user namespace",
                            kernel::name_of(other.kind), other.member.value));
    }
    return {};
}

Result<void> dump(NamespaceDumpContext &context, const tree::Namespace &ns) {
    img::userns_entry entry;
    const auto add = [](const Extents &extents, auto &&make) {
        for (const base::IdExtent &extent : extents) {
            auto *out = make();
            out->set_first(extent.first), out->set_lower_first(extent.lower), out->set_count(extent.count);
        }
    };
    add(TRY(read_map(ns.member, "uid_map")), [&] { return entry.add_uid_map(); });
    add(TRY(read_map(ns.member, "gid_map")), [&] { return entry.add_gid_map(); });
    add(TRY(read_map(ns.member, "projid_map")), [&] { return entry.mutable_extension()->add_project_map(); });
    const std::string setgroups = TRY(kernel::read_file(AT_FDCWD, file_of(ns.member, "setgroups").c_str()));
    if (setgroups.starts_with("deny"))
        entry.mutable_extension()->set_denies_setgroups(true);
    return context.images.add(image::ImageKind::Userns, ns.id, entry);
}

} // namespace user_namespace
} // namespace resource
