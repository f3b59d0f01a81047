#include "criu/resource/file/path/ghosts.hh"

#include "criu/image/ghost.hh"
#include "criu/kernel/child.hh"

#include <algorithm>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <set>
#include <sys/sysmacros.h>
#include <unistd.h>

namespace resource {
namespace {

constexpr size_t kCopyBuffer = 1u << 20;
constexpr const char *kFdPath = "/proc/self/fd/{}";

uint32_t image_device(dev_t dev) {
    return static_cast<uint32_t>(major(dev) << 20 | minor(dev));
}

Result<void> copy_range(int from, off_t at, off_t to_at, uint64_t bytes, int to) {
    std::vector<char> buffer(std::min<uint64_t>(kCopyBuffer, bytes));
    while (bytes) {
        ssize_t n = pread(from, buffer.data(), std::min<uint64_t>(buffer.size(), bytes), at);
        if (n < 0)
            return base::fail_sys("read a deleted file");
        if (n == 0)
            break;
        if (pwrite(to, buffer.data(), static_cast<size_t>(n), to_at) != n)
            return base::fail_sys("write a deleted file's contents");
        at += n, to_at += n, bytes -= static_cast<uint64_t>(n);
    }
    return {};
}

/// Ranges of a file that hold data.
std::vector<std::pair<off_t, off_t>> data_ranges(int fd, off_t size) {
    std::vector<std::pair<off_t, off_t>> ranges;
    for (off_t at = 0; at < size;) {
        off_t start = lseek(fd, at, SEEK_DATA);
        if (start < 0)
            break;
        off_t end = lseek(fd, start, SEEK_HOLE);
        if (end < 0)
            end = size;
        ranges.emplace_back(start, end);
        at = end;
    }
    return ranges;
}

struct GhostHead {
    img::ghost_file_entry entry;
    base::UniqueFd source; ///< readable descriptor of the file; none for what has no contents
};

Result<GhostHead> describe(const FileDumpContext &context, const OpenFile &file) {
    const struct stat &st = file.stat;
    GhostHead head;
    head.entry.set_uid(st.st_uid);
    head.entry.set_gid(st.st_gid);
    head.entry.set_mode(st.st_mode);
    head.entry.set_dev(image_device(st.st_dev));
    head.entry.set_ino(st.st_ino);
    head.entry.mutable_atim()->set_tv_sec(static_cast<uint64_t>(st.st_atim.tv_sec));
    head.entry.mutable_atim()->set_tv_usec(static_cast<uint64_t>(st.st_atim.tv_nsec / 1000));
    head.entry.mutable_mtim()->set_tv_sec(static_cast<uint64_t>(st.st_mtim.tv_sec));
    head.entry.mutable_mtim()->set_tv_usec(static_cast<uint64_t>(st.st_mtim.tv_nsec / 1000));
    head.entry.set_atim_nsec(static_cast<uint32_t>(st.st_atim.tv_nsec));
    head.entry.set_mtim_nsec(static_cast<uint32_t>(st.st_mtim.tv_nsec));
    if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode))
        head.entry.set_rdev(static_cast<uint32_t>(st.st_rdev));
    if (S_ISLNK(st.st_mode)) {
        char target[PATH_MAX];
        ssize_t n = readlinkat(file.fd, "", target, sizeof target);
        if (n < 0)
            return base::fail_sys("read a deleted symbolic link");
        head.entry.set_symlnk_target(std::string(target, static_cast<size_t>(n)));
    }
    if (!S_ISREG(st.st_mode))
        return head;
    if (static_cast<uint64_t>(st.st_blocks) * 512 > context.options.ghost_limit)
        return base::fail(
            base::Error(base::ErrorKind::Unsupported, fmt::format("it holds {} bytes, more than the ghost limit of {}",
                                                                  st.st_blocks * 512, context.options.ghost_limit))
                .hint(fmt::format("raise it: --ghost-limit {}", st.st_blocks * 512)));
    const std::string path = fmt::format(kFdPath, file.fd);
    head.source.reset(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOATIME)); // our reading is not the program's
    if (!head.source && errno == EPERM)                                        // that takes its owner, or CAP_FOWNER
        head.source.reset(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!head.source)
        return base::fail_sys("open a deleted file for reading");
    return head;
}

} // namespace

Result<void> write_ghost(FileDumpContext &context, const OpenFile &file, uint32_t ghost) {
    GhostHead head = TRY(describe(context, file));
    auto ranges = head.source ? data_ranges(head.source.get(), file.stat.st_size) : decltype(data_ranges(0, 0)){};
    const bool whole = ranges.size() == 1 && ranges[0] == std::pair<off_t, off_t>{0, file.stat.st_size};
    const bool chunked = head.source && file.stat.st_size > 0 && !whole;
    if (chunked) {
        head.entry.set_chunks(true);
        head.entry.set_size(static_cast<uint64_t>(file.stat.st_size));
    }
    TRY(context.images.add(image::ImageKind::GhostFile, ghost, head.entry));
    for (auto [start, end] : ranges) {
        int out = TRY(context.images.raw(image::ImageKind::GhostFile, ghost));
        off_t at = lseek(out, 0, SEEK_END);
        if (chunked) {
            img::ghost_chunk_entry chunk;
            chunk.set_len(static_cast<uint64_t>(end - start));
            chunk.set_off(static_cast<uint64_t>(start));
            std::string bytes = chunk.SerializeAsString();
            auto length = static_cast<uint32_t>(bytes.size());
            bytes.insert(0, reinterpret_cast<const char *>(&length), sizeof length);
            if (pwrite(out, bytes.data(), bytes.size(), at) != static_cast<ssize_t>(bytes.size()))
                return base::fail_sys("write a deleted file's image");
            at += static_cast<off_t>(bytes.size());
        }
        TRY(copy_range(head.source.get(), start, at, static_cast<uint64_t>(end - start), out));
    }
    return context.images.close_file(image::ImageKind::GhostFile, ghost);
}

namespace {

// ---- restore -------------------------------------------------------------------------------------------------------

Result<void> fill(const image::GhostImage &ghost, const std::string &path) {
    base::UniqueFd out(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (!out)
        return base::fail_sys(fmt::format("open {}", path));
    uint64_t end = ghost.entry.size();
    for (const image::GhostPiece &piece : ghost.pieces)
        end = std::max(end, piece.offset + piece.length);
    if (ftruncate(out.get(), static_cast<off_t>(end)) < 0)
        return base::fail_sys(fmt::format("size of {}", path));
    for (const image::GhostPiece &piece : ghost.pieces)
        TRY(copy_range(ghost.file.get(), static_cast<off_t>(piece.image_offset), static_cast<off_t>(piece.offset),
                       piece.length, out.get()));
    return {};
}

Result<void> make_node(const img::ghost_file_entry &entry, const std::string &path) {
    int r = -1;
    mode_t mode = entry.mode();
    if (S_ISREG(mode))
        r = base::UniqueFd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)) ? 0 : -1;
    else if (S_ISDIR(mode))
        r = mkdir(path.c_str(), 0700);
    else if (S_ISLNK(mode))
        r = symlink(entry.symlnk_target().c_str(), path.c_str());
    else if (S_ISFIFO(mode) || S_ISCHR(mode) || S_ISBLK(mode))
        r = mknod(path.c_str(), (mode & S_IFMT) | 0600, entry.rdev());
    else
        return base::unsupported("a deleted file of an unknown kind");
    if (r < 0)
        return base::fail_sys(fmt::format("create {}", path));
    return {};
}

/// `through`: the path is a link to the file (in /proc/self/fd).
Result<void> set_attributes(const img::ghost_file_entry &entry, const std::string &path, bool through = false) {
    const int flags = through ? 0 : AT_SYMLINK_NOFOLLOW;
    if (fchownat(AT_FDCWD, path.c_str(), entry.uid(), entry.gid(), flags) < 0)
        return base::fail_sys(fmt::format("owner of {}", path));
    if (!S_ISLNK(entry.mode()) && chmod(path.c_str(), entry.mode() & 07777) < 0)
        return base::fail_sys(fmt::format("mode of {}", path));
    auto nanoseconds = [](bool exact, uint32_t ns, uint64_t us) { return static_cast<long>(exact ? ns : us * 1000); };
    timespec times[2] = {{static_cast<time_t>(entry.atim().tv_sec()),
                          nanoseconds(entry.has_atim_nsec(), entry.atim_nsec(), entry.atim().tv_usec())},
                         {static_cast<time_t>(entry.mtim().tv_sec()),
                          nanoseconds(entry.has_mtim_nsec(), entry.mtim_nsec(), entry.mtim().tv_usec())}};
    if (entry.has_mtim() && utimensat(AT_FDCWD, path.c_str(), times, flags) < 0)
        return base::fail_sys(fmt::format("times of {}", path));
    return {};
}

/// The file's own name if nobody has it now, so that /proc shows the same "name (deleted)" as before.
std::string ghost_name(const std::string &path, uint32_t id) {
    struct stat st {};
    if (lstat(path.c_str(), &st) < 0 && errno == ENOENT)
        return path;
    return fmt::format("{}.cr.{:x}.ghost", path, id);
}

/// Directories that are there for as long as ghosts are made in them.
class PassingDirectories {
public:
    PassingDirectories() = default;
    PassingDirectories(const PassingDirectories &) = delete;
    ~PassingDirectories() {
        for (auto made = made_.rbegin(); made != made_.rend(); ++made)
            unlinkat(made->parent.get(), made->name.c_str(), AT_REMOVEDIR);
    }

    void add(const std::string &path) {
        const std::filesystem::path whole(path);
        made_.push_back({base::UniqueFd(::open(whole.parent_path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)),
                         whole.filename().string()});
    }

    /// Makes what is missing on the way to `path`.
    Result<void> make_parents(const std::string &path) {
        for (size_t slash = path.find('/', 1); slash != std::string::npos; slash = path.find('/', slash + 1)) {
            const std::string directory = path.substr(0, slash);
            if (mkdir(directory.c_str(), 0700) == 0)
                add(directory);
            else if (errno != EEXIST && errno != EROFS)
                return base::fail_sys(fmt::format("create {}", directory));
        }
        return {};
    }

private:
    struct Made {
        base::UniqueFd parent; ///< we may be in another mount namespace in the end
        std::string name;
    };
    std::vector<Made> made_;
};

Result<image::GhostImage> read_ghost(const FileOpenContext &context, uint32_t id) {
    auto ghost = TRY(context.images.read_ghost(id));
    if (!ghost)
        return base::bad_image(fmt::format("ghost-file-{:x}.img is missing", id));
    return std::move(*ghost);
}

/// Makes the file, still empty, and keeps it without its name.
Result<void> make_ghost(FileOpenContext &context, const Ghost &what, PassingDirectories &directories) {
    const image::GhostImage ghost = TRY(read_ghost(context, what.id));
    if (context.go_to)
        TRY(context.go_to(what.file));
    TRY(directories.make_parents(what.path));
    const std::string name = ghost_name(what.path, what.id);
    TRY(make_node(ghost.entry, name));
    if (S_ISLNK(ghost.entry.mode()))
        TRY(set_attributes(ghost.entry, name));
    base::UniqueFd kept(::open(name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    // Servers of file systems (FUSE, NFS) forget a nameless file that nobody has really open.
    if (S_ISREG(ghost.entry.mode()))
        context.nameless.emplace_back(::open(name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
    if (S_ISDIR(ghost.entry.mode()))
        directories.add(name); // others may lie in it
    else if (unlink(name.c_str()) < 0)
        return base::fail_sys(fmt::format("remove {}", name));
    if (!kept)
        return base::fail_sys(fmt::format("open {}", name));
    context.ghost_paths[what.id] = fmt::format(kFdPath, kept.get());
    context.nameless.push_back(std::move(kept));
    return {};
}

} // namespace

// Parents before what is in them. The names are gone again before anything else is done: who kills the restore finds
// nothing beside his files. /proc shows them all the same, for every description that is opened through a kept one.
Result<void> make_ghosts(FileOpenContext &context, std::vector<Ghost> ghosts) {
    std::ranges::sort(ghosts);
    TRY_CTX(kernel::run_to_end([&]() -> Result<void> {
                PassingDirectories directories;
                for (const Ghost &ghost : ghosts)
                    TRY(make_ghost(context, ghost, directories));
                return {};
            }),
            "bring back a deleted file");
    for (const Ghost &what : ghosts) {
        const image::GhostImage ghost = TRY(read_ghost(context, what.id));
        const std::string &path = context.ghost_paths.at(what.id);
        if (S_ISREG(ghost.entry.mode()))
            TRY_CTX(fill(ghost, path), what.path);
        if (!S_ISLNK(ghost.entry.mode()))
            TRY_CTX(set_attributes(ghost.entry, path, true), what.path);
    }
    return {};
}

Result<std::vector<Ghost>> missing_ghosts(const FileOpenContext &context) {
    std::vector<Ghost> missing;
    std::set<uint32_t> seen;
    for (auto &[id, remap] : context.remaps) {
        auto file = context.files.find(id);
        const bool ghost = remap.remap_type() == img::GHOST && file != context.files.end() && file->second.has_reg();
        if (!ghost || context.ghost_paths.contains(remap.remap_id()) ||
            (file->second.reg().flags() & O_TMPFILE) == O_TMPFILE || !seen.insert(remap.remap_id()).second)
            continue;
        if (!file->second.reg().name().starts_with('/'))
            return base::bad_image(
                fmt::format("file {}: \"{}\" is not an absolute path", id, file->second.reg().name()));
        missing.push_back({file->second.reg().name(), remap.remap_id(), id});
    }
    return missing;
}

Result<base::UniqueFd> open_nameless(FileOpenContext &context, uint32_t id, const std::string &path, uint32_t flags) {
    auto it = context.remaps.find(id);
    if (it == context.remaps.end() || it->second.remap_type() != img::GHOST || !path.starts_with('/') ||
        context.ghost_paths.contains(it->second.remap_id()))
        return base::UniqueFd();
    const std::string directory = std::filesystem::path(path).parent_path().string();
    base::UniqueFd fd(::open(directory.c_str(), static_cast<int>(flags) | O_TMPFILE | O_CLOEXEC, 0600));
    base::UniqueFd kept(fd ? fcntl(fd.get(), F_DUPFD_CLOEXEC, 0) : -1);
    if (!kept)
        return base::UniqueFd(); // not on every file system, and the directory may be gone
    auto ghost = TRY(context.images.read_ghost(it->second.remap_id()));
    if (!ghost || !S_ISREG(ghost->entry.mode()))
        return base::UniqueFd();
    const std::string name = fmt::format(kFdPath, kept.get());
    TRY(fill(*ghost, name));
    TRY(set_attributes(ghost->entry, name, true));
    context.ghost_paths[it->second.remap_id()] = name;
    context.nameless.push_back(std::move(kept));
    return fd;
}

} // namespace resource
