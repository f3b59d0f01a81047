// Files that cannot be reached by their path any more.
//
// Without any name (link count 0) a file's contents go into the image: a ghost. If it has another name somewhere, which
// nobody can find, --link-remap gives it a new one beside the old, which the restore removes again.
#include "criu/kernel/mount_of.hh"
#include "criu/resource/file/path/ghosts.hh"
#include "criu/resource/file/path/opening.hh"

#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

namespace resource {
namespace {

constexpr const char *kLinkRemap = "link_remap.";
constexpr const char *kFdPath = "/proc/self/fd/{}";
constexpr std::string_view kFdFolder = "/proc/self/fd/";

std::pair<uint64_t, uint64_t> key_of(const struct stat &st) {
    return {st.st_dev, st.st_ino};
}

/// Extra names that this dump has made.
struct MadeLinks {
    std::vector<std::string> paths;
};

Result<void> add_remap(FileDumpContext &context, FileId id, uint32_t remap, img::remap_type type) {
    img::remap_file_path_entry entry;
    entry.set_orig_id(id.value);
    entry.set_remap_id(remap);
    entry.set_remap_type(type);
    return context.images.add(image::ImageKind::RemapFpath, 0, entry);
}

Result<void> dump_ghost(FileDumpContext &context, const OpenFile &file, FileId id) {
    auto [it, is_new] = context.ghosts.try_emplace(key_of(file.stat), context.next_ghost_id);
    if (is_new) {
        context.next_ghost_id++;
        TRY_CTX(write_ghost(context, file, it->second), "its file is deleted");
    }
    return add_remap(context, id, it->second, img::GHOST);
}

/// File systems whose removed files keep a link count: those of a lower layer of an overlay have it there, and servers
/// behind FUSE rename what is open still.
bool is_gone_but_counted(const OpenFile &file) {
    struct statfs fs {};
    constexpr decltype(fs.f_type) kFuse = 0x65735546; // FUSE_SUPER_MAGIC
    return file.stat.st_nlink == 1 && file.link.ends_with(" (deleted)") && fstatfs(file.fd, &fs) == 0 &&
           (fs.f_type == OVERLAYFS_SUPER_MAGIC || fs.f_type == kFuse);
}

/// A dump that was killed may have left its links: one to the same file is as good as new, another one is not ours to
/// remove.
Result<std::string> make_link(FileDumpContext &context, const OpenFile &file, const std::string &path, uint32_t id) {
    constexpr int kTries = 100;
    const std::string stem = fmt::format("{}/{}{}", std::filesystem::path(path).parent_path().string(), kLinkRemap, id);
    for (int i = 0; i < kTries; i++) {
        const std::string name = i ? fmt::format("{}.{}", stem, i) : stem;
        const std::string ours = context.mounts.path(name);
        // Of the description itself, wherever its remaining name may be.
        const int r =
            linkat(AT_FDCWD, fmt::format(kFdPath, file.fd).c_str(), AT_FDCWD, ours.c_str(), AT_SYMLINK_FOLLOW);
        if (r < 0 && errno != EEXIST)
            return base::fail_sys(fmt::format("link {} to {}", file.link, name));
        struct stat there {};
        if (r < 0 && (lstat(ours.c_str(), &there) < 0 || key_of(there) != key_of(file.stat)))
            continue;
        context.states.of<MadeLinks>().paths.push_back(ours);
        return name;
    }
    return base::fail_sys(EEXIST, fmt::format("link {} to {}", file.link, stem));
}

Result<void> dump_link(FileDumpContext &context, const OpenFile &file, FileId id, const std::string &path) {
    if (!context.options.link_remap)
        return base::fail(
            base::Error(base::ErrorKind::Unsupported,
                        fmt::format("{} was removed or replaced, but the open file still has another name", path))
                .hint("dump with --link-remap, which gives it a temporary name beside the old one"));
    auto [it, is_new] = context.link_remaps.try_emplace(key_of(file.stat), 0);
    if (is_new) {
        FileId named = context.new_id();
        it->second = named.value;
        img::file_entry entry;
        entry.set_type(img::REG);
        entry.set_id(named.value);
        img::reg_file_entry *reg = entry.mutable_reg();
        reg->set_id(named.value);
        reg->set_flags(0);
        reg->set_pos(0);
        TRY(dump_owner(context, OpenFile{}, reg->mutable_fown()));
        reg->set_name(TRY(make_link(context, file, path, named.value)));
        reg->set_mode(file.stat.st_mode);
        if (context.mounts.own())
            if (const auto mount = kernel::mount_of(file.fd); mount && context.mounts.ids.contains(*mount))
                reg->set_mnt_id(static_cast<int32_t>(*mount));
        // Of a tree that lives on the images may be restored at any time, and more than once.
        if (context.options.tree_survives)
            reg->mutable_extension()->set_link_stays(true);
        TRY(context.images.add(image::ImageKind::Files, 0, entry));
    }
    return add_remap(context, id, it->second, img::LINKED);
}

/// By its handle, which needs no name: what is opened through a link cannot have O_NOFOLLOW.
base::UniqueFd open_by_handle(const std::string &path, int flags) {
    alignas(file_handle) char room[sizeof(file_handle) + MAX_HANDLE_SZ];
    auto *handle = reinterpret_cast<file_handle *>(room);
    handle->handle_bytes = MAX_HANDLE_SZ;
    int mount_id = 0;
    base::UniqueFd mount(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    if (!mount || name_to_handle_at(AT_FDCWD, path.c_str(), handle, &mount_id, AT_SYMLINK_FOLLOW) < 0)
        return base::UniqueFd();
    return base::UniqueFd(open_by_handle_at(mount.get(), handle, flags));
}

} // namespace

// shm_open(3) opens with O_NOFOLLOW. A file system without handles loses that bit, which means nothing any more.
base::UniqueFd open_kept(const std::string &path, int flags) {
    const bool kept = path.starts_with(kFdFolder) && (flags & O_NOFOLLOW);
    if (!kept)
        return open_at_once(path.c_str(), flags);
    // That would be the link in /proc. What is kept was opened in the same way (ghosts.cc), and has no state.
    const int number = std::atoi(path.c_str() + kFdFolder.size());
    if ((flags & O_PATH) && (flags & O_DIRECTORY))
        return base::UniqueFd(::openat(number, ".", flags));
    if (flags & O_PATH)
        return base::UniqueFd(fcntl(number, F_DUPFD_CLOEXEC, 0));
    base::UniqueFd fd = open_by_handle(path, flags);
    return fd ? std::move(fd) : open_at_once(path.c_str(), flags & ~O_NOFOLLOW);
}

Result<void> dump_remap(FileDumpContext &context, const OpenFile &file, FileId id, const std::string &path) {
    if (file.stat.st_nlink == 0 || S_ISDIR(file.stat.st_mode) || is_gone_but_counted(file))
        return dump_ghost(context, file, id);
    return dump_link(context, file, id, path);
}

void take_back_links(FileDumpContext &context, bool failed) {
    if (failed || !context.options.tree_survives)
        for (const std::string &path : std::exchange(context.states.of<MadeLinks>().paths, {}))
            unlink(path.c_str());
}

Result<std::string> path_to_open(FileOpenContext &context, uint32_t id, const std::string &path) {
    if (!path.starts_with('/'))
        return base::bad_image(fmt::format("file {}: \"{}\" is not an absolute path", id, path));
    auto it = context.remaps.find(id);
    if (it == context.remaps.end())
        return path;
    const img::remap_file_path_entry &remap = it->second;
    switch (remap.remap_type()) {
    case img::GHOST: {
        if (!context.ghost_paths.contains(remap.remap_id()))
            TRY(make_ghosts(context, TRY(missing_ghosts(context))));
        if (!context.ghost_paths.contains(remap.remap_id()))
            TRY(make_ghosts(context, {{path, remap.remap_id(), id}}));
        if (context.go_to)
            TRY(context.go_to(id));
        return context.ghost_paths.at(remap.remap_id());
    }
    case img::LINKED: {
        auto other = context.files.find(remap.remap_id());
        if (other == context.files.end() || !other->second.has_reg())
            return base::bad_image(fmt::format("remap-fpath.img: file {} does not exist", remap.remap_id()));
        return other->second.reg().name();
    }
    case img::PROCFS:
        return path;
    }
    return base::bad_image("remap-fpath.img: an unknown kind of remap");
}

namespace {

/// Whether a dump has made that name: only such a one is ours to remove, whatever the image says.
bool is_link_remap(const std::string &path) {
    return std::filesystem::path(path).filename().string().starts_with(kLinkRemap);
}

} // namespace

// Names come from images: nothing in the tree's file systems may lead them out of it.
void remove_link_remaps(const RootOf &root_of, const std::map<uint32_t, img::file_entry> &files,
                        const std::multimap<uint32_t, img::remap_file_path_entry> &remaps) {
    base::UniqueFd top;
    const auto folder_of = [&](const std::string &path) {
        open_how how{.flags = O_PATH | O_DIRECTORY | O_CLOEXEC, .mode = 0, .resolve = RESOLVE_IN_ROOT};
        const std::string folder = std::filesystem::path(path).parent_path();
        return base::UniqueFd(static_cast<int>(syscall(SYS_openat2, top.get(), folder.c_str(), &how, sizeof how)));
    };
    const auto name_of = [](const std::string &path) { return std::filesystem::path(path).filename().string(); };
    for (auto &[id, remap] : remaps) {
        auto named = files.find(remap.remap_id()), original = files.find(id);
        if (remap.remap_type() != img::LINKED || named == files.end() || original == files.end())
            continue;
        const std::string &extra = named->second.reg().name(), &old = original->second.reg().name();
        if (!is_link_remap(extra) || named->second.reg().extension().link_stays())
            continue;
        const std::string root = root_of(original->second.reg().mnt_id());
        top.reset(open(root.empty() ? "/" : root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
        const base::UniqueFd there = folder_of(extra), before = folder_of(old);
        const std::string name = name_of(extra), former = name_of(old);
        // By way of the old name, so that /proc shows it again; but never over a file that has it now.
        if (before && !former.empty() &&
            renameat2(there.get(), name.c_str(), before.get(), former.c_str(), RENAME_NOREPLACE) == 0)
            unlinkat(before.get(), former.c_str(), 0);
        else if (there)
            unlinkat(there.get(), name.c_str(), 0);
    }
}

} // namespace resource
