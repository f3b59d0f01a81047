#include "criu/resource/file/watch/watch_target.hh"

#include "criu/image/ghost.hh"
#include "criu/resource/file/watch/watch_search.hh"

#include <algorithm>
#include <climits>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <fstream>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace resource {
namespace {

constexpr size_t kMaxHandle = MAX_HANDLE_SZ;
constexpr int kImageWords = img::min_entries; // CRIU always writes, and reads, that many

/// Makes a directory current for a moment: open_by_handle_at(2) takes no O_PATH descriptor, and to open a mount's root
/// in earnest would be seen by those who watch it.
class Visit {
public:
    explicit Visit(const std::string &directory) : back_(open(".", O_PATH | O_CLOEXEC)) {
        base::UniqueFd there(open(directory.c_str(), O_PATH | O_CLOEXEC));
        inside_ = back_ && there && fchdir(there.get()) == 0;
    }
    Visit(const Visit &) = delete;
    Visit &operator=(const Visit &) = delete;
    ~Visit() {
        if (inside_ && fchdir(back_.get()) < 0)
            inside_ = false;
    }
    explicit operator bool() const { return inside_; }

private:
    base::UniqueFd back_;
    bool inside_ = false;
};

union HandleBuffer {
    file_handle handle;
    char bytes[sizeof(file_handle) + kMaxHandle];
};

std::string link_of(int fd) {
    char target[PATH_MAX];
    const ssize_t n = readlink(path_of_descriptor(fd).c_str(), target, sizeof target);
    return n > 0 ? std::string(target, static_cast<size_t>(n)) : std::string();
}

bool is_inode(int fd, uint64_t inode) {
    struct stat st {};
    return fstat(fd, &st) == 0 && st.st_ino == inode;
}

void write_handle(const std::optional<parse::FileHandle> &handle, img::fh_entry *entry) {
    entry->set_bytes(handle ? static_cast<uint32_t>(handle->bytes.size()) : 0);
    entry->set_type(handle ? static_cast<uint32_t>(handle->type) : 0);
    uint64_t words[kImageWords] = {};
    if (handle)
        memcpy(words, handle->bytes.data(), std::min(handle->bytes.size(), sizeof words));
    for (uint64_t word : words)
        entry->add_handle(word);
}

Result<std::optional<parse::FileHandle>> read_handle(const img::fh_entry &entry) {
    if (!entry.bytes())
        return std::nullopt;
    if (entry.bytes() > kMaxHandle || entry.bytes() > static_cast<size_t>(entry.handle_size()) * sizeof(uint64_t))
        return base::bad_image("a watch whose file handle has an impossible length");
    parse::FileHandle handle;
    handle.type = static_cast<int32_t>(entry.type());
    handle.bytes.resize(entry.bytes());
    for (size_t i = 0; i < handle.bytes.size(); i++)
        handle.bytes[i] =
            static_cast<uint8_t>(entry.handle(static_cast<int>(i / sizeof(uint64_t))) >> (8 * (i % sizeof(uint64_t))));
    return handle;
}

/// How an inode was found: its descriptor and a path that leads to it now. Either may be missing.
struct Found {
    base::UniqueFd fd;
    std::string path;
    bool deleted = false;
};

Result<Found> find(const FileOptions &options, const Mounts &mounts, const WatchedInode &watched) {
    Found found;
    if (watched.handle)
        if (auto fd = open_watched_handle(mounts, watched.device, *watched.handle);
            fd && is_inode(fd->get(), watched.inode))
            found.fd = std::move(*fd);
    struct stat st {};
    if (found.fd && fstat(found.fd.get(), &st) == 0) {
        found.deleted = st.st_nlink == 0;
        found.path = link_of(found.fd.get());
        // Some file systems leave a directory a link count when it is gone.
        found.deleted |= S_ISDIR(st.st_mode) && found.path.ends_with(" (deleted)");
    }
    auto now = open_in_tree(mounts.root, found.path);
    if (!now || !is_inode(now.get(), watched.inode))
        found.path.clear();
    if (found.path.empty() && (!found.fd || options.force_irmap) && !found.deleted)
        found.path = search_watched(options, mounts, watched);
    if (found.fd || !found.path.empty())
        return found;
    return base::fail(base::Error(base::ErrorKind::Unsupported,
                                  fmt::format("no path is known to the watched inode {} on device {}:{}, and its file "
                                              "system cannot open it by its handle",
                                              watched.inode, watched.device >> 20, watched.device & 0xfffff))
                          .hint("say where to look for it: --irmap-scan-path DIRECTORY"));
}

} // namespace

std::string path_of_descriptor(int fd) {
    return fmt::format("/proc/self/fd/{}", fd);
}

Result<Mounts> own_mounts() {
    std::ifstream file("/proc/self/mountinfo");
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    return Mounts{TRY(parse::parse_mountinfo(text)), std::string()};
}

Result<Mounts> mounts_of(const TreeMounts &tree) {
    if (!tree.own())
        return own_mounts();
    std::ifstream file(tree.root.substr(0, tree.root.rfind('/')) + "/mountinfo"); // beside /proc/PID/root
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    return Mounts{TRY(parse::parse_mountinfo(text)), tree.root};
}

uint64_t device_of(const parse::Mount &mount) {
    return uint64_t{mount.dev_major} << 20 | mount.dev_minor;
}

Result<base::UniqueFd> open_watched_handle(const Mounts &mounts, uint64_t device, const parse::FileHandle &handle) {
    if (handle.bytes.size() > kMaxHandle)
        return base::bad_image("a file handle of an impossible length");
    HandleBuffer buffer{};
    buffer.handle.handle_bytes = static_cast<unsigned>(handle.bytes.size());
    buffer.handle.handle_type = handle.type;
    memcpy(buffer.bytes + sizeof(file_handle), handle.bytes.data(), handle.bytes.size());
    int error = ENODEV;
    for (const parse::Mount &mount : mounts.all) {
        if (device_of(mount) != device)
            continue;
        Visit visit(mounts.root + mount.mount_point);
        if (!visit)
            continue;
        base::UniqueFd fd(open_by_handle_at(AT_FDCWD, &buffer.handle, O_PATH | O_CLOEXEC));
        // A mount of a part shows no path to what lies outside of it.
        if (fd && (mount.root == "/" || link_of(fd.get()).starts_with(mount.mount_point)))
            return fd;
        error = fd ? ENOENT : errno;
    }
    return base::fail_sys(error, "open a watched inode by its handle");
}

Result<void> dump_watched(FileDumpContext &context, const WatchedInode &watched, img::fh_entry *entry) {
    // Read once: programs watch thousands of directories, and hosts of containers have as many mounts.
    auto &mounts = context.states.of<std::map<std::string, std::optional<Mounts>>>()[context.mounts.root];
    if (!mounts)
        mounts = TRY(mounts_of(context.mounts));
    Found found = TRY(find(context.options, *mounts, watched));
    write_handle(watched.handle, entry);
    if (!found.path.empty())
        entry->set_path(found.path);
    if (found.deleted)
        TRY(context.dump_passed(std::move(found.fd)));
    return {};
}

Result<void> examine_watched(const FileOptions &options, const WatchedInode &watched) {
    TRY(find(options, TRY(own_mounts()), watched));
    return {};
}

bool is_watched_late(const img::fh_entry &entry) {
    return entry.path().starts_with("/proc/");
}

// Symbolic links of the tree's must not lead us out of it.
base::UniqueFd open_in_tree(const std::string &root, const std::string &path) {
    constexpr int kFlags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
    if (!path.starts_with('/'))
        return {};
    if (root.empty())
        return base::UniqueFd(open(path.c_str(), kFlags));
    const base::UniqueFd top(open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    open_how how{.flags = kFlags, .mode = 0, .resolve = RESOLVE_IN_ROOT};
    return base::UniqueFd(static_cast<int>(syscall(SYS_openat2, top.get(), path.c_str(), &how, sizeof how)));
}

Result<base::UniqueFd> open_watched(const std::string &root, const img::fh_entry &entry, uint64_t inode,
                                    uint64_t device) {
    base::UniqueFd named = open_in_tree(root, entry.path());
    if (named && is_inode(named.get(), inode))
        return named;
    if (auto handle = TRY(read_handle(entry)))
        if (auto fd = open_watched_handle(TRY(mounts_of({.root = root, .ids = {}, .home = root})), device, *handle);
            fd && is_inode(fd->get(), inode))
            return std::move(*fd);
    if (named)
        return named;
    return base::fail(base::Error(base::ErrorKind::Unsupported,
                                  entry.has_path() ? fmt::format("the watched {} does not exist", entry.path())
                                                   : fmt::format("the watched inode {} does not exist", inode))
                          .hint("it was there at the checkpoint: put it back"));
}

std::optional<uint32_t> WatchedGhosts::find(uint64_t inode, uint64_t device) const {
    auto found = ids.find({device, inode});
    return found == ids.end() ? std::nullopt : std::optional(found->second);
}

Result<void> load_watched_ghosts(WatchedGhosts &ghosts, const image::ImageDir &images, const Remaps &remaps) {
    if (std::exchange(ghosts.loaded, true))
        return {};
    for (auto &[id, remap] : remaps) {
        if (remap.remap_type() != img::GHOST)
            continue;
        if (const auto ghost = TRY(images.read_ghost(remap.remap_id())))
            ghosts.ids.try_emplace({ghost->entry.dev(), ghost->entry.ino()}, id);
    }
    return {};
}

} // namespace resource
