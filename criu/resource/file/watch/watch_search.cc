#include "criu/resource/file/watch/watch_search.hh"

#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <sys/sysmacros.h>

namespace resource {
namespace {

namespace fs = std::filesystem;

/// What services watch: configuration, logs, spools. CRIU looks in much the same places.
constexpr const char *kUsualPlaces[] = {
    "/etc",      "/var/spool", "/var/log", "/usr/share/dbus-1/system-services", "/usr/share/polkit-1/actions",
    "/lib/udev", "/run",
};
constexpr size_t kMostEntries = 200'000; ///< below one place; a wrong place must not take minutes

/// The device number that stat tells is not always that of the super block (btrfs, overlayfs): the handle decides
/// there.
bool has_handle(const std::string &path, const parse::FileHandle &handle) {
    union {
        file_handle head;
        char bytes[sizeof(file_handle) + MAX_HANDLE_SZ];
    } found{};
    constexpr int kIdentityOnly = 0x200; // AT_HANDLE_FID: the handle need not be one that can be opened
    for (int flags : {kIdentityOnly, 0}) {
        int mount = 0;
        found.head.handle_bytes = MAX_HANDLE_SZ;
        if (name_to_handle_at(AT_FDCWD, path.c_str(), &found.head, &mount, flags) == 0)
            return found.head.handle_type == handle.type && found.head.handle_bytes == handle.bytes.size() &&
                   memcmp(found.bytes + sizeof(file_handle), handle.bytes.data(), handle.bytes.size()) == 0;
    }
    return false;
}

bool is_it(const std::string &path, const WatchedInode &watched) {
    struct stat st {};
    if (lstat(path.c_str(), &st) < 0 || st.st_ino != watched.inode)
        return false;
    if (watched.handle && has_handle(path, *watched.handle))
        return true;
    return (uint64_t{major(st.st_dev)} << 20 | minor(st.st_dev)) == watched.device;
}

std::string search_below(const std::string &place, const WatchedInode &watched) {
    if (is_it(place, watched))
        return place;
    std::error_code error;
    size_t seen = 0;
    auto options = fs::directory_options::skip_permission_denied;
    for (fs::recursive_directory_iterator at(place, options, error), end; !error && at != end; at.increment(error)) {
        if (++seen > kMostEntries)
            break;
        if (is_it(at->path().string(), watched))
            return at->path().string();
    }
    return std::string();
}

} // namespace

std::string search_watched(const FileOptions &options, const Mounts &mounts, const WatchedInode &watched) {
    const auto search = [&](const std::string &place) {
        const std::string path = search_below(mounts.root + place, watched);
        return path.empty() ? path : path.substr(mounts.root.size());
    };
    for (const std::string &place : options.watch_places)
        if (std::string path = search(place); !path.empty())
            return fs::absolute(path).lexically_normal().string();
    // Mount points first: they are few, and what a container watches is often one.
    for (const parse::Mount &mount : mounts.all)
        if (is_it(mounts.root + mount.mount_point, watched))
            return mount.mount_point;
    for (const char *place : kUsualPlaces)
        if (std::string path = search(place); !path.empty())
            return path;
    return std::string();
}

} // namespace resource
