#include "criu/resource/file/watched_object.hh"

#include "criu/kernel/io.hh"
#include "criu/parse/mountinfo.hh"

#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

namespace resource {
namespace {

constexpr unsigned kMinorBits = 20;
constexpr size_t kWords = 16; // of a handle, as CRIU writes them

/// The mounts of our namespace, and an open place of each file system that was needed so far.
struct Mounts {
    bool loaded = false;
    std::vector<parse::Mount> all;
    std::map<uint64_t, base::UniqueFd> places; ///< by device
};

Result<Mounts *> load(KindStates &states) {
    Mounts &mounts = states.of<Mounts>();
    if (!mounts.loaded)
        mounts.all = TRY(parse::parse_mountinfo(TRY(kernel::read_file(AT_FDCWD, "/proc/self/mountinfo"))));
    mounts.loaded = true;
    return &mounts;
}

uint64_t device_of(const parse::Mount &mount) {
    return uint64_t{mount.dev_major} << kMinorBits | mount.dev_minor;
}

std::string describe(uint64_t device, uint64_t inode) {
    return fmt::format("inode {} of device {}:{}", inode, device >> kMinorBits, device & ((1u << kMinorBits) - 1));
}

/// -1 if no mount of the file system can be opened.
Result<int> place_on(KindStates &states, uint64_t device) {
    Mounts &mounts = *TRY(load(states));
    base::UniqueFd &place = mounts.places[device];
    for (auto mount = mounts.all.begin(); !place && mount != mounts.all.end(); ++mount) {
        if (device_of(*mount) != device)
            continue;
        base::UniqueFd fd(open(mount->mount_point.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
        struct stat stat {};
        // Another mount may cover it; files of some file systems have devices of their own (btrfs), their mounts not.
        if (fd && fstat(fd.get(), &stat) == 0 && (S_ISDIR(stat.st_mode) || S_ISREG(stat.st_mode)))
            place = std::move(fd);
    }
    return place.get();
}

/// Nothing if the handle leads nowhere.
Result<base::UniqueFd> open_handle(KindStates &states, uint64_t device, int type, std::span<const uint8_t> bytes) {
    const int place = TRY(place_on(states, device));
    if (place < 0 || bytes.size() > MAX_HANDLE_SZ)
        return base::UniqueFd();
    alignas(file_handle) char buffer[sizeof(file_handle) + MAX_HANDLE_SZ] = {};
    auto *handle = new (buffer) file_handle{};
    handle->handle_bytes = static_cast<unsigned>(bytes.size());
    handle->handle_type = type;
    std::memcpy(handle->f_handle, bytes.data(), bytes.size());
    return base::UniqueFd(open_by_handle_at(place, handle, O_PATH | O_CLOEXEC));
}

bool has_inode(int fd, uint64_t inode) {
    struct stat stat {};
    return fstat(fd, &stat) == 0 && stat.st_ino == inode;
}

Result<void> write_place(FileDumpContext &context, int fd, img::fh_entry *entry) {
    struct stat object {
    }, named{};
    if (fstat(fd, &object) < 0)
        return base::fail_sys("look at a watched object");
    const std::string path = TRY(kernel::read_link(AT_FDCWD, descriptor_path(fd).c_str()));
    if (lstat(path.c_str(), &named) == 0 && named.st_ino == object.st_ino && named.st_dev == object.st_dev)
        entry->set_path(path);
    else if (auto file = context.find_open(object.st_dev, object.st_ino))
        entry->set_file(file->value);
    else if (object.st_nlink == 0)
        return base::unsupported(fmt::format("it watches {}, which no task of the tree has open", path));
    return {};
}

} // namespace

std::string descriptor_path(int fd) {
    return fmt::format("/proc/self/fd/{}", fd);
}

Result<void> dump_watched(FileDumpContext &context, const WatchedObject &object, img::fh_entry *entry) {
    if (!object.handle)
        return base::unsupported(
            fmt::format("it watches {}, whose file system has no file handles", describe(object.device, object.inode)));
    const auto &bytes = object.handle->bytes;
    entry->set_bytes(static_cast<uint32_t>(bytes.size()));
    entry->set_type(static_cast<uint32_t>(object.handle->type));
    uint64_t words[kWords] = {};
    std::memcpy(words, bytes.data(), std::min(bytes.size(), sizeof words));
    entry->mutable_handle()->Assign(words, words + kWords);
    base::UniqueFd fd = TRY(open_handle(context.states, object.device, object.handle->type, bytes));
    if (!fd)
        return base::fail(
            base::Error(base::ErrorKind::Unsupported, fmt::format("it watches {}, which cannot be opened by its handle",
                                                                  describe(object.device, object.inode)))
                .hint("this takes CAP_DAC_READ_SEARCH, and a mount of that file system that is visible "
                      "here; overlayfs needs nfs_export=on"));
    return write_place(context, fd.get(), entry);
}

Result<base::UniqueFd> open_watched(KindStates &states, const img::fh_entry &entry, uint64_t device, uint64_t inode,
                                    const Borrow &borrow) {
    if (entry.has_file())
        return borrow(entry.file());
    if (!entry.path().empty())
        if (base::UniqueFd fd(open(entry.path().c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC)); fd)
            return fd;
    uint64_t words[kWords] = {};
    if (entry.bytes() > sizeof words || static_cast<size_t>(entry.handle_size()) * sizeof words[0] < entry.bytes())
        return base::bad_image("a file handle of impossible length");
    std::copy_n(entry.handle().begin(), std::min<size_t>(kWords, static_cast<size_t>(entry.handle_size())), words);
    base::UniqueFd fd = TRY(open_handle(states, device, static_cast<int>(entry.type()),
                                        {reinterpret_cast<const uint8_t *>(words), entry.bytes()}));
    if (fd && has_inode(fd.get(), inode))
        return fd;
    return base::fail_sys(ENOENT, fmt::format("watch {} ({})", entry.path().empty() ? "an object" : entry.path(),
                                              describe(device, inode)));
}

Borrow borrow_from(const FileOpenContext &context) {
    return [&context](uint32_t id) -> Result<base::UniqueFd> {
        auto open = context.opened.find(id);
        if (open == context.opened.end())
            return base::bad_image(fmt::format("files.img: file {} is missing", id));
        return base::UniqueFd(fcntl(open->second, F_DUPFD_CLOEXEC, 0));
    };
}

Result<std::optional<WatchedMount>> mount_of(KindStates &states, int32_t id) {
    for (const parse::Mount &mount : TRY(load(states))->all)
        if (mount.id == id)
            return WatchedMount{mount.id, mount.mount_point};
    return std::nullopt;
}

Result<std::optional<WatchedMount>> mount_of_device(KindStates &states, uint64_t device) {
    for (const parse::Mount &mount : TRY(load(states))->all)
        if (device_of(mount) == device)
            return WatchedMount{mount.id, mount.mount_point};
    return std::nullopt;
}

} // namespace resource
