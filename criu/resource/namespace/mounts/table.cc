#include "criu/resource/namespace/mounts/table.hh"

#include "criu/resource/namespace/mounts/file_systems.hh"
#include "criu/resource/namespace/mounts/host_mounts.hh"
#include "criu/resource/namespace/mounts/overlay.hh"

#include <algorithm>
#include <fmt/format.h>
#include <map>

namespace resource::mounts {
namespace {

constexpr std::string_view kDeleted = "//deleted";
constexpr std::string_view kTracefs = "tracefs";

struct Option {
    std::string_view name;
    uint32_t flag;
};
constexpr Option kMountOptions[] = {{"ro", kReadOnly},      {"nosuid", kNoSuid},   {"nodev", kNoDev},
                                    {"noexec", kNoExec},    {"noatime", kNoAtime}, {"nodiratime", kNoDirAtime},
                                    {"relatime", kRelAtime}};
constexpr Option kSuperOptions[] = {{"rw", 0}, {"ro", kReadOnly}, {"sync", kSynchronous}, {"dirsync", kDirSync}};

std::vector<std::string_view> split(std::string_view text, char separator = ',') {
    std::vector<std::string_view> parts;
    while (!text.empty()) {
        const size_t end = std::min(text.find(separator), text.size());
        parts.push_back(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return parts;
}

template <size_t N> const Option *find(const Option (&options)[N], std::string_view name) {
    auto found = std::ranges::find(options, name, &Option::name);
    return found == std::end(options) ? nullptr : found;
}

uint32_t flags_of(const parse::Mount &mount) {
    uint32_t flags = 0;
    for (std::string_view name : split(mount.options))
        if (const Option *option = find(kMountOptions, name))
            flags |= option->flag;
    if (!(flags & (kNoAtime | kRelAtime)))
        flags |= kStrictAtime;
    if (mount.shared)
        flags |= kShared;
    if (mount.master)
        flags |= kSlave;
    if (mount.unbindable)
        flags |= kUnbindable;
    return flags;
}

/// Flags of the superblock out of its options, and what is left of these.
void describe_superblock(const parse::Mount &mount, img::mnt_entry &entry) {
    uint32_t flags = 0;
    std::string rest;
    for (std::string_view name : split(mount.super_options)) {
        if (const Option *option = find(kSuperOptions, name)) {
            flags |= option->flag;
            continue;
        }
        rest += rest.empty() ? "" : ",";
        rest += name;
    }
    entry.set_sb_flags(flags);
    entry.set_options(rest);
}

/// What is known of the tree and around it.
struct Around {
    const std::vector<parse::Mount> &host;
    const tree::Namespaces &namespaces;
    const Externals &externals;
    const ProcBelow &proc;
};

bool is_cgroup(const parse::Mount &mount) {
    return mount.fs_type == "cgroup" || mount.fs_type == "cgroup2";
}

/// Of control groups as a whole a new mount shows the same, from where the tree sees them; who lacks the rights to make
/// one takes the caller's.
void find_outside(const parse::Mount &mount, const Around &around, img::mnt_entry &entry) {
    const bool is_given_root = mount.mount_point == "/" && !around.externals.beside;
    if (!around.externals.automatic || is_given_root ||
        (is_cgroup(mount) && mount.root == "/" && !around.externals.given_groups))
        return;
    const auto source = find_source(mount, around.host, around.externals);
    if (!source)
        return;
    entry.set_ext_key(std::string(kFoundKey));
    entry.set_source(source->path.substr(1));
    if (mount.shared && !source->same_group)
        entry.set_internal_sharing(true);
}

/// A file system on a device, or of a type that is mounted by its name.
void describe_by_name(const parse::Mount &mount, const Around &around, img::mnt_entry &entry) {
    if (mount.root != "/" || entry.fstype() != img::UNSUPPORTED)
        return;
    const auto device = around.externals.devices.find(fmt::format("{}/{}", mount.dev_major, mount.dev_minor));
    if (device != around.externals.devices.end()) {
        entry.set_ext_key(std::string(kDeviceKey));
        entry.set_source(fmt::format("dev[{}]", device->second));
    } else if (mount.dev_major || !around.externals.enables(mount.fs_type)) {
        return;
    }
    entry.set_fstype(img::AUTO);
    entry.set_fsname(mount.fs_type);
}

/// "net:[4026532181]": a namespace that is bound to a file, of the tree's root.
void find_namespace(const parse::Mount &mount, const Around &around, img::mnt_entry &entry) {
    if (mount.fs_type != "nsfs")
        return;
    constexpr std::pair<std::string_view, tree::NamespaceKind> kKinds[] = {
        {"pid", tree::NamespaceKind::Pid},      {"net", tree::NamespaceKind::Net},
        {"ipc", tree::NamespaceKind::Ipc},      {"uts", tree::NamespaceKind::Uts},
        {"time", tree::NamespaceKind::Time},    {"user", tree::NamespaceKind::User},
        {"cgroup", tree::NamespaceKind::Cgroup}};
    for (auto [name, kind] : kKinds) {
        const tree::Namespace *roots = around.namespaces.of_root(kind);
        if (roots && roots->origin != tree::NamespaceOrigin::Host &&
            mount.root == fmt::format("{}:[{}]", name, roots->inode))
            entry.set_ext_key(std::string(kNamespaceKey) + std::string(name));
    }
}

img::mnt_entry describe_one(const parse::Mount &mount, const Around &around) {
    img::mnt_entry entry;
    const FileSystem *kind = find_file_system(mount.fs_type);
    std::string_view root = mount.root;
    if (root.ends_with(kDeleted)) {
        root.remove_suffix(kDeleted.size());
        entry.set_deleted(true);
    }
    entry.set_fstype(kind ? kind->number : img::UNSUPPORTED);
    if (kind && kind->number == img::AUTO)
        entry.set_fsname(mount.fs_type);
    entry.set_mnt_id(static_cast<uint32_t>(mount.id));
    entry.set_root_dev(mount.dev_major << 20 | mount.dev_minor);
    entry.set_parent_mnt_id(static_cast<uint32_t>(mount.parent_id));
    entry.set_flags(flags_of(mount));
    entry.set_root(std::string(root));
    entry.set_mountpoint(mount.mount_point);
    entry.set_source(mount.source);
    describe_superblock(mount, entry);
    entry.set_shared_id(static_cast<uint32_t>(mount.shared));
    entry.set_master_id(static_cast<uint32_t>(mount.master));
    if (auto key = around.externals.key_of(mount.mount_point)) {
        entry.set_ext_key(*key);
        return entry;
    }
    if (const auto below = around.proc.find(entry.root_dev()); below != around.proc.end()) {
        entry.set_ext_key(fmt::format("{}{}", kProcKey, below->second));
        return entry;
    }
    describe_by_name(mount, around, entry);
    if (!entry.has_ext_key())
        find_namespace(mount, around, entry);
    if (!entry.has_ext_key())
        find_outside(mount, around, entry);
    return entry;
}

bool is_root(const img::mnt_entry &entry) {
    return entry.mountpoint() == "/";
}

/// Whether a part of a file system can be taken from a mount of more of it.
bool holds(const img::mnt_entry &whole, const img::mnt_entry &part) {
    if (&whole == &part || whole.root_dev() != part.root_dev() || whole.deleted())
        return false;
    const bool stands_alone = whole.root() == "/" || whole.has_ext_key() || is_root(whole);
    return stands_alone &&
           (whole.root() == "/" || part.root() == whole.root() || part.root().starts_with(whole.root() + "/"));
}

using Tables = std::vector<std::vector<img::mnt_entry>>;

std::string advice(const parse::Mount &mount, const Externals &externals) {
    if (externals.automatic && mount.master && !externals.masters)
        return "it receives mounts from outside: --enable-external-masters";
    if (externals.automatic && mount.shared && !externals.sharing)
        return "it shares mounts: --enable-external-sharing";
    return fmt::format("--external 'mnt[{}]:KEY' leaves it to the caller, who gives KEY a path at the "
                       "restore; --external 'mnt[]' finds all mounts of the caller's by itself",
                       mount.mount_point);
}

std::string reason(const img::mnt_entry &entry, const parse::Mount &mount) {
    if (mount.fs_type == "nsfs")
        return fmt::format("mount {}: it shows the namespace {}, which is none of the tree's root", entry.mountpoint(),
                           mount.root);
    if (entry.root() == "/")
        return fmt::format("mount {}: a file system of the type {} cannot be made again", entry.mountpoint(),
                           mount.fs_type);
    return fmt::format("mount {}: it shows the part {} of a file system ({}) that is mounted nowhere in the tree",
                       entry.mountpoint(), entry.root(), mount.fs_type);
}

/// Nobody tells which directory a relative path began at.
bool names_by_relative_paths(const img::mnt_entry &entry) {
    return is_overlay_of_tree(entry) &&
           std::ranges::any_of(overlay_directories(entry.options()), [](const auto &path) { return path[0] != '/'; });
}

Result<void> check(const img::mnt_entry &entry, const parse::Mount &mount, const Tables &tables,
                   const Externals &externals) {
    if (entry.has_ext_key())
        return {};
    if (names_by_relative_paths(entry))
        return base::fail(base::Error(base::ErrorKind::Unsupported,
                                      fmt::format("mount {}: an overlay whose directories are named by relative paths",
                                                  entry.mountpoint()))
                              .hint(advice(mount, externals)));
    if (entry.root() == "/" && !type_of(entry).empty())
        return {};
    for (const auto &entries : tables)
        if (std::ranges::any_of(entries, [&](const auto &other) { return holds(other, entry); }))
            return {};
    return base::fail(base::Error(base::ErrorKind::Unsupported, reason(entry, mount)).hint(advice(mount, externals)));
}

/// Mounts that stay, the last one first: without what is to be left out, with all that lies on it.
std::vector<const parse::Mount *> kept(const std::vector<parse::Mount> &mounts, const Externals &externals) {
    std::set<int32_t> skipped;
    const auto is_skipped = [&](const parse::Mount &mount) {
        const bool tracing =
            mount.fs_type == kTracefs && !externals.key_of(mount.mount_point) && !externals.enables(kTracefs);
        return tracing || skipped.contains(mount.parent_id) || externals.skips(mount.mount_point);
    };
    for (bool more = true; more;) {
        more = false;
        for (const parse::Mount &mount : mounts)
            if (mount.mount_point != "/" && is_skipped(mount))
                more |= skipped.insert(mount.id).second;
    }
    std::vector<const parse::Mount *> all;
    for (auto mount = mounts.rbegin(); mount != mounts.rend(); ++mount)
        if (!skipped.contains(mount->id))
            all.push_back(&*mount);
    return all;
}

} // namespace

Result<Tables> describe(std::span<const std::vector<parse::Mount>> tables, const std::vector<parse::Mount> &host,
                        const tree::Namespaces &namespaces, const Externals &externals, const ProcBelow &proc) {
    Externals below = externals; // keys are of mount points of the root's
    below.keys.clear();
    Tables all;
    std::map<uint32_t, const parse::Mount *> mounts; ///< by id
    for (const std::vector<parse::Mount> &table : tables) {
        const Externals &here = all.empty() ? externals : below;
        const Around around{host, namespaces, here, proc};
        std::vector<img::mnt_entry> &entries = all.emplace_back();
        for (const parse::Mount *mount : kept(table, here)) {
            entries.push_back(describe_one(*mount, around));
            mounts[entries.back().mnt_id()] = mount;
        }
    }
    for (const auto &entries : all)
        for (const img::mnt_entry &entry : entries)
            if (&entries != &all.front() || !is_root(entry) ||
                externals.beside) // whatever the root task's root is, the caller gives it
                TRY(check(entry, *mounts.at(entry.mnt_id()), all, externals));
    return all;
}

Result<std::vector<img::mnt_entry>> describe(const std::vector<parse::Mount> &mounts,
                                             const std::vector<parse::Mount> &host, const tree::Namespaces &namespaces,
                                             const Externals &externals) {
    return std::move(TRY(describe(std::span(&mounts, 1), host, namespaces, externals)).front());
}

std::vector<std::string> lost_masters(const Tables &tables) {
    std::set<uint32_t> groups;
    for (const auto &entries : tables)
        for (const img::mnt_entry &entry : entries)
            groups.insert(entry.shared_id());
    std::vector<std::string> lost;
    for (const auto &entries : tables)
        for (const img::mnt_entry &entry : entries)
            if (entry.master_id() && !groups.contains(entry.master_id()) && !entry.has_ext_key() && !is_root(entry))
                lost.push_back(entry.mountpoint());
    return lost;
}

} // namespace resource::mounts
