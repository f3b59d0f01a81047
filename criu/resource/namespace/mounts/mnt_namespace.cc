// Mount namespaces: the table of mounts, and what is in file systems that live in memory only.
#include "criu/kernel/child.hh"
#include "criu/kernel/namespaces.hh"
#include "criu/resource/namespace/kinds.hh"
#include "criu/resource/namespace/mounts/archive.hh"
#include "criu/resource/namespace/mounts/build.hh"
#include "criu/resource/namespace/mounts/contents.hh"
#include "criu/resource/namespace/mounts/host_mounts.hh"
#include "criu/resource/namespace/mounts/overlay.hh"
#include "criu/resource/namespace/mounts/proc_below.hh"
#include "criu/resource/namespace/mounts/table.hh"
#include "criu/resource/namespace/user_namespace.hh"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <fcntl.h>
#include <fmt/format.h>
#include <iterator>
#include <sched.h>
#include <set>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

namespace resource::mnt_namespace {
namespace {

using Entries = std::vector<img::mnt_entry>;

Result<std::vector<parse::Mount>> read_mounts(const std::string &process) {
    return parse::parse_mountinfo(TRY(kernel::read_file(AT_FDCWD, fmt::format("/proc/{}/mountinfo", process).c_str())));
}

/// As a member of the tree's cgroup namespace reads it: what a mount shows of control groups is told from there.
Result<std::vector<parse::Mount>> list_mounts(base::Pid member) {
    const base::UniqueFd groups = TRY(kernel::open_namespace(member, tree::NamespaceKind::Cgroup));
    std::vector<parse::Mount> mounts;
    TRY(kernel::inside(std::array{groups.get()}, [&]() -> Result<void> {
        mounts = TRY(read_mounts(std::to_string(member.value)));
        return {};
    }));
    return mounts;
}

struct Tables {
    std::vector<const tree::Namespace *> namespaces; ///< the root task's first
    std::vector<Entries> entries;                    ///< of each
    std::vector<std::string> left_out;               ///< mount points
};

/// Beside the tool's own, which the root of the tree lives in: copies of it mostly, with some changes.
mounts::Externals beside_ours(const mounts::Externals &externals) {
    mounts::Externals all = externals;
    all.beside = all.automatic = all.masters = all.sharing = true;
    all.keys.clear();
    all.root = "/";
    return all;
}

/// Control groups are mounted by who has rights over the cgroup namespace that he lives in: in a user namespace, mostly
/// nobody. The kernel does not even tell whose it is where it belongs to a user namespace around.
bool may_mount_groups(const tree::Namespaces &namespaces) {
    constexpr unsigned long kGetOwner = 0xb701; // NS_GET_USERNS
    if (namespaces.root_has_own(tree::NamespaceKind::Cgroup))
        return true;
    const base::UniqueFd groups(open("/proc/self/ns/cgroup", O_RDONLY | O_CLOEXEC));
    return base::UniqueFd(ioctl(groups.get(), kGetOwner)) || errno != EPERM;
}

/// Of all mount namespaces of the tree, in one look: they belong together.
Result<Tables> read_tables(const tree::Namespaces &namespaces, const mounts::Externals &given) {
    mounts::Externals externals = namespaces.root_has_own(tree::NamespaceKind::Mnt) ? given : beside_ours(given);
    externals.given_groups = !may_mount_groups(namespaces);
    Tables tables;
    std::vector<std::vector<parse::Mount>> mounts;
    for (const tree::Namespace &ns : namespaces.all()) {
        if (ns.kind != tree::NamespaceKind::Mnt || ns.origin == tree::NamespaceOrigin::Host)
            continue;
        mounts.push_back(TRY(list_mounts(ns.member)));
        tables.namespaces.push_back(&ns);
    }
    const std::vector<parse::Mount> host = TRY(read_mounts("self"));
    if (externals.beside)
        for (auto &table : mounts)
            table = mounts::without_hidden(std::move(table), host, tables.left_out);
    mounts::ProcBelow proc;
    for (size_t i = 0; i < mounts.size(); i++)
        mounts::find_proc_below(namespaces, tables.namespaces[i]->member, mounts[i], proc);
    tables.entries = TRY(mounts::describe(mounts, host, namespaces, externals, proc));
    std::set<uint32_t> overlays;
    for (size_t i = 0; i < tables.entries.size(); i++) {
        if (!i && !externals.beside)
            for (const img::mnt_entry &entry : tables.entries[i])
                if (entry.mountpoint() == "/") // what the root is, the caller gives
                    overlays.insert(entry.root_dev());
        TRY(mounts::check_overlays(tables.namespaces[i]->member, tables.entries[i], overlays));
    }
    return tables;
}

/// What is done for all of them together is done for the root's, or the first below where the root has the tool's.
bool is_first(const tree::Namespaces &namespaces, const tree::Namespace &ns) {
    const auto first = std::ranges::find_if(namespaces.all(), [&](const tree::Namespace &each) {
        return each.kind == ns.kind && each.origin != tree::NamespaceOrigin::Host;
    });
    return first->id == ns.id;
}

/// mountinfo says owners as the initial user namespace has them; who mounts says them as its own has. `ours`: the
/// tool's.
std::string options_inside(std::string_view options, const base::OwnerMaps &ours, const base::OwnerMaps &owners) {
    std::string all;
    while (!options.empty()) {
        const size_t end = std::min(options.find(','), options.size());
        std::string_view option = options.substr(0, end);
        options.remove_prefix(std::min(end + 1, options.size()));
        all += all.empty() ? "" : ",";
        uint32_t id = 0;
        const bool is_owner = option.starts_with("uid=") || option.starts_with("gid=");
        const std::string_view number = is_owner ? option.substr(4) : std::string_view();
        const auto [rest, error] = std::from_chars(number.begin(), number.end(), id);
        const auto as_we_say = (option[0] == 'u' ? ours.users : ours.groups).find(id);
        if (is_owner && error == std::errc() && rest == number.end())
            all += fmt::format("{}{}", option.substr(0, 4),
                               (option[0] == 'u' ? owners.users : owners.groups).inside(as_we_say.value_or(id)));
        else
            all += option;
    }
    return all;
}

Result<void> fill_file_system(NamespaceFillContext &context, const img::mnt_entry &entry, int directory) {
    auto file = TRY(context.images.open_raw(image::ImageKind::TmpfsDev, entry.root_dev()));
    if (!file)
        file = TRY(context.images.open_raw(image::ImageKind::TmpfsImg, entry.mnt_id())); // as older versions named it
    if (!file)
        return base::bad_image(
            fmt::format("{} is missing", image::image_file_name(image::ImageKind::TmpfsDev, entry.root_dev())));
    return mounts::read_archive(file->get(), directory, context.log);
}

/// CRIU saves nothing of it, and makes it anew and empty.
Result<void> make_deleted(NamespaceFillContext &context, const img::mnt_entry &entry, int directory,
                          const std::string &name, bool is_directory) {
    if (auto file = TRY(context.images.open_raw(image::ImageKind::TmpfsImg, entry.mnt_id())))
        return mounts::read_archive(file->get(), directory, context.log);
    const bool made =
        is_directory
            ? mkdirat(directory, name.c_str(), 0700) == 0
            : static_cast<bool>(base::UniqueFd(openat(directory, name.c_str(), O_CREAT | O_EXCL | O_CLOEXEC, 0600)));
    return made ? Result<void>() : base::fail_sys(fmt::format("make {}", name));
}

Result<Entries> read_entries(const NamespaceFillContext &context, uint32_t id) {
    return mounts::without_skipped(TRY(context.images.read<img::mnt_entry>(image::ImageKind::Mnts, id)),
                                   context.options.mounts);
}

} // namespace

// Those of tasks below the root go with its own.
Result<void> refuse(const NamespaceCheckContext &context, const tree::Namespace &ns) {
    if (is_first(context.namespaces, ns))
        TRY(read_tables(context.namespaces, context.options.mounts));
    return {};
}

Result<void> dump(NamespaceDumpContext &context, const tree::Namespace &first) {
    if (!is_first(context.namespaces, first))
        return {};
    const Tables tables = TRY(read_tables(context.namespaces, context.options.mounts));
    for (const std::string &path : mounts::lost_masters(tables.entries))
        context.log.warn(
            fmt::format("mount {}: what is mounted outside of the tree will not appear in it any more", path));
    for (const std::string &path : tables.left_out)
        context.log.warn(fmt::format("mount {}: another one hides it, here as well: it is left out", path));
    const base::OwnerMaps ours = TRY(owner_maps(base::Pid(getpid())));
    std::set<uint32_t> saved;
    for (size_t i = 0; i < tables.entries.size(); i++) {
        const tree::Namespace &ns = *tables.namespaces[i];
        for (img::mnt_entry entry : tables.entries[i]) {
            entry.set_options(options_inside(entry.options(), ours, context.images.owners()));
            TRY(context.images.add(image::ImageKind::Mnts, ns.id, entry));
        }
        TRY(context.images.close_file(image::ImageKind::Mnts, ns.id));
        const base::UniqueFd fd = TRY(kernel::open_namespace(ns.member, ns.kind));
        TRY(kernel::inside(std::array{fd.get()},
                           [&] { return mounts::dump_contents(context, tables.entries[i], saved); }));
    }
    return {};
}

namespace {

/// A mount namespace belongs to the user namespace of who makes it: as a copy, in which nothing that is hidden can be
/// laid open.
Result<void> give_to(int owner, mounts::BuiltMounts &made, size_t i, int proc) {
    base::UniqueFd copy;
    TRY(kernel::run_to_end([&]() -> Result<void> {
        if (setns(made.below[i].get(), CLONE_NEWNS) < 0 || setns(owner, CLONE_NEWUSER) < 0 || unshare(CLONE_NEWNS) < 0)
            return base::fail_sys("copy the mounts for another user namespace");
        copy = TRY(kernel::open_at(proc, "self/ns/mnt", O_RDONLY));
        return {};
    }));
    for (mounts::LaterMount &later : made.later)
        if (later.table == i + 1)
            later.space.reset(fcntl(copy.get(), F_DUPFD_CLOEXEC, 0));
    made.below[i] = std::move(copy);
    return {};
}

/// Makes the mounts of all namespaces that have any: the root task's are `entries` first.
Result<void> make_all(NamespaceFillContext &context, Entries entries, const mounts::Externals &externals) {
    std::vector<size_t> tables;
    for (uint32_t id : context.below) {
        tables.push_back(entries.size());
        Entries more = TRY(read_entries(context, id));
        std::ranges::move(more, std::back_inserter(entries));
    }
    const auto plan = TRY(mounts::plan_mounts(entries, externals, std::move(tables)));
    const mounts::Fillers fillers{
        .file_system = [&](const auto &entry, int directory) { return fill_file_system(context, entry, directory); },
        .deleted = [&](const auto &entry, int directory, const std::string &name,
                       bool is_directory) { return make_deleted(context, entry, directory, name, is_directory); }};
    const base::UniqueFd proc = TRY(kernel::open_at(AT_FDCWD, "/proc", O_PATH | O_DIRECTORY));
    auto made = TRY(mounts::build_mounts(context.outside, plan, entries, fillers, context.masters));
    for (size_t i = 0; i < made.below.size(); i++)
        if (const int owner = context.owner_of(context.below[i]); owner >= 0)
            TRY(give_to(owner, made, i, proc.get()));
    for (size_t i = 0; i < made.below.size(); i++)
        context.made[context.below[i]] = std::move(made.below[i]);
    std::ranges::move(made.later, std::back_inserter(context.later));
    return {};
}

/// Stands for the mounts of the tool, in which the root of the tree lives.
Result<img::mnt_entry> our_root() {
    struct stat st {};
    if (stat("/", &st) < 0)
        return base::fail_sys("look at /");
    img::mnt_entry entry;
    entry.set_fstype(img::UNSUPPORTED);
    entry.set_mnt_id(UINT32_MAX); // which the kernel gives to nobody
    entry.set_parent_mnt_id(UINT32_MAX);
    entry.set_root_dev(major(st.st_dev) << 20 | minor(st.st_dev));
    entry.set_flags(0);
    entry.set_root("/");
    entry.set_mountpoint("/");
    entry.set_source("");
    entry.set_options("");
    return entry;
}

} // namespace

Result<void> fill(NamespaceFillContext &context) {
    return make_all(context, TRY(read_entries(context, context.id)), context.options.mounts);
}

// All is put together in a copy of the tool's, which goes when the thread does.
Result<void> fill_below(NamespaceFillContext &context) {
    Entries entries{TRY(our_root())};
    return kernel::inside({}, [&]() -> Result<void> {
        if (unshare(CLONE_NEWNS) < 0)
            return base::fail_sys("unshare(CLONE_NEWNS)");
        return make_all(context, std::move(entries), beside_ours(context.options.mounts));
    });
}

} // namespace resource::mnt_namespace
