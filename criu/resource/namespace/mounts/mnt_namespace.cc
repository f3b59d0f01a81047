// Mount namespaces: the table of mounts, and what is in file systems that live in memory only.
#include "criu/kernel/namespaces.hh"
#include "criu/resource/namespace/kinds.hh"
#include "criu/resource/namespace/mounts/archive.hh"
#include "criu/resource/namespace/mounts/build.hh"
#include "criu/resource/namespace/mounts/contents.hh"
#include "criu/resource/namespace/mounts/table.hh"

#include <algorithm>
#include <charconv>
#include <fcntl.h>
#include <fmt/format.h>
#include <iterator>
#include <set>
#include <sys/stat.h>
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
};

/// Of all mount namespaces of the tree, in one look: they belong together.
Result<Tables> read_tables(const tree::Namespaces &namespaces, const mounts::Externals &externals) {
    Tables tables;
    std::vector<std::vector<parse::Mount>> mounts;
    for (const tree::Namespace &ns : namespaces.all()) {
        if (ns.kind != tree::NamespaceKind::Mnt || ns.origin == tree::NamespaceOrigin::Host)
            continue;
        mounts.push_back(TRY(list_mounts(ns.member)));
        tables.namespaces.push_back(&ns);
    }
    tables.entries = TRY(mounts::describe(mounts, TRY(read_mounts("self")), namespaces, externals));
    return tables;
}

bool is_of_root(const tree::Namespaces &namespaces, const tree::Namespace &ns) {
    return ns.id == namespaces.root_id(ns.kind);
}

/// mountinfo says owners as the initial user namespace has them; who mounts says them as its own has.
std::string options_inside(std::string_view options, const base::OwnerMaps &owners) {
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
        if (is_owner && error == std::errc() && rest == number.end())
            all +=
                fmt::format("{}{}", option.substr(0, 4), (option[0] == 'u' ? owners.users : owners.groups).inside(id));
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
    if (!context.namespaces.root_has_own(ns.kind))
        return base::unsupported("while the root of the tree lives in that of the tool");
    if (is_of_root(context.namespaces, ns))
        TRY(read_tables(context.namespaces, context.options.mounts));
    return {};
}

Result<void> dump(NamespaceDumpContext &context, const tree::Namespace &root) {
    if (!is_of_root(context.namespaces, root))
        return {};
    const Tables tables = TRY(read_tables(context.namespaces, context.options.mounts));
    for (const std::string &path : mounts::lost_masters(tables.entries))
        context.log.warn(
            fmt::format("mount {}: what is mounted outside of the tree will not appear in it any more", path));
    std::set<uint32_t> saved;
    for (size_t i = 0; i < tables.entries.size(); i++) {
        const tree::Namespace &ns = *tables.namespaces[i];
        for (img::mnt_entry entry : tables.entries[i]) {
            entry.set_options(options_inside(entry.options(), context.images.owners()));
            TRY(context.images.add(image::ImageKind::Mnts, ns.id, entry));
        }
        TRY(context.images.close_file(image::ImageKind::Mnts, ns.id));
        const base::UniqueFd fd = TRY(kernel::open_namespace(ns.member, ns.kind));
        TRY(kernel::inside(std::array{fd.get()},
                           [&] { return mounts::dump_contents(context, tables.entries[i], saved); }));
    }
    return {};
}

Result<void> fill(NamespaceFillContext &context) {
    Entries entries = TRY(read_entries(context, context.id));
    std::vector<size_t> tables;
    for (uint32_t id : context.below) {
        tables.push_back(entries.size());
        Entries more = TRY(read_entries(context, id));
        std::ranges::move(more, std::back_inserter(entries));
    }
    const auto plan = TRY(mounts::plan_mounts(entries, context.options.mounts, std::move(tables)));
    const mounts::Fillers fillers{
        .file_system = [&](const auto &entry, int directory) { return fill_file_system(context, entry, directory); },
        .deleted = [&](const auto &entry, int directory, const std::string &name,
                       bool is_directory) { return make_deleted(context, entry, directory, name, is_directory); }};
    auto made = TRY(mounts::build_mounts(context.outside, plan, entries, fillers, context.masters));
    for (size_t i = 0; i < made.size(); i++)
        context.made[context.below[i]] = std::move(made[i]);
    return {};
}

} // namespace resource::mnt_namespace
