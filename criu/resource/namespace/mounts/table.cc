#include "criu/resource/namespace/mounts/table.hh"

#include "criu/resource/namespace/mounts/file_systems.hh"

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

std::vector<std::string_view> split(std::string_view text) {
    std::vector<std::string_view> parts;
    while (!text.empty()) {
        const size_t end = std::min(text.find(','), text.size());
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

img::mnt_entry describe_one(const parse::Mount &mount, const Externals &externals) {
    img::mnt_entry entry;
    const FileSystem *kind = find_file_system(mount.fs_type);
    std::string_view root = mount.root;
    if (root.ends_with(kDeleted)) {
        root.remove_suffix(kDeleted.size());
        entry.set_deleted(true);
    }
    entry.set_fstype(kind ? kind->number : img::UNSUPPORTED);
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
    if (auto key = externals.key_of(mount.mount_point))
        entry.set_ext_key(*key);
    return entry;
}

bool is_root(const img::mnt_entry &entry) {
    return entry.mountpoint() == "/";
}

/// Whether a part of a file system can be taken from a mount of more of it.
bool holds(const img::mnt_entry &whole, const img::mnt_entry &part) {
    if (&whole == &part || whole.root_dev() != part.root_dev())
        return false;
    const bool stands_alone = whole.root() == "/" || whole.has_ext_key() || is_root(whole);
    return stands_alone &&
           (whole.root() == "/" || part.root() == whole.root() || part.root().starts_with(whole.root() + "/"));
}

using Tables = std::vector<std::vector<img::mnt_entry>>;

Result<void> check(const img::mnt_entry &entry, const std::string &type, const Tables &tables) {
    if (entry.has_ext_key())
        return {};
    const std::string help =
        fmt::format("--external 'mnt[{}]:KEY' leaves it to the caller, who gives KEY a path at the "
                    "restore",
                    entry.mountpoint());
    const bool whole = entry.root() == "/";
    if (whole && find_file_system(entry.fstype()))
        return {};
    const bool has_source = std::ranges::any_of(tables, [&](const auto &entries) {
        return std::ranges::any_of(entries, [&](const auto &other) { return holds(other, entry); });
    });
    if (has_source && !entry.deleted())
        return {};
    base::Error error(
        base::ErrorKind::Unsupported,
        whole ? fmt::format("mount {}: a file system of the type {} cannot be made again", entry.mountpoint(), type)
        : entry.deleted() ? fmt::format("mount {}: what it shows was deleted", entry.mountpoint())
                          : fmt::format("mount {}: it shows the part {} of a file system ({}) that is "
                                        "mounted nowhere in the tree",
                                        entry.mountpoint(), entry.root(), type));
    return base::fail(std::move(error.hint(help)));
}

} // namespace

Result<Tables> describe(std::span<const std::vector<parse::Mount>> tables, const Externals &externals) {
    Tables all;
    std::map<uint32_t, std::string> types; ///< by id of the mount
    for (const std::vector<parse::Mount> &mounts : tables) {
        const Externals here = all.empty() ? externals : Externals{};
        std::vector<img::mnt_entry> &entries = all.emplace_back();
        for (auto mount = mounts.rbegin(); mount != mounts.rend(); ++mount)
            if (mount->fs_type != kTracefs || here.key_of(mount->mount_point)) {
                entries.push_back(describe_one(*mount, here));
                types[entries.back().mnt_id()] = mount->fs_type;
            }
    }
    for (const auto &entries : all)
        for (const img::mnt_entry &entry : entries)
            if (&entries != &all.front() || !is_root(entry)) // whatever the root task's root is, the caller gives it
                TRY(check(entry, types[entry.mnt_id()], all));
    return all;
}

Result<std::vector<img::mnt_entry>> describe(const std::vector<parse::Mount> &mounts, const Externals &externals) {
    return std::move(TRY(describe(std::span(&mounts, 1), externals)).front());
}

} // namespace resource::mounts
