// What inotify and fanotify watch: an inode that need not be open, nor have a name that we know. The kernel tells its
// file handle. A dump looks for a path as well: handles do not survive a move to another file system, paths survive
// less on this one.
#pragma once

#include "criu/parse/fdinfo.hh"
#include "criu/parse/mountinfo.hh"
#include "criu/resource/file/file.hh"

namespace resource {

struct WatchedInode {
    uint64_t inode = 0;
    uint64_t device = 0; ///< of the super block, major << 20 | minor
    std::optional<parse::FileHandle> handle;
};

/// The mounts of a namespace, and how we get there.
struct Mounts {
    std::vector<parse::Mount> all;
    std::string root; ///< what to put before a path: "" or "/proc/PID/root"
};
Result<Mounts> own_mounts();
/// Those of the tree: our own where it lives in our namespace.
Result<Mounts> mounts_of(const TreeMounts &tree);
uint64_t device_of(const parse::Mount &mount);

/// Opens (O_PATH, which nobody who watches can notice) what a handle leads to. Errors: Sys.
Result<base::UniqueFd> open_watched_handle(const Mounts &mounts, uint64_t device, const parse::FileHandle &handle);

/// Finds how a restore will reach the inode. The contents of a deleted one go into the image, as a ghost.
/// Errors: Unsupported if neither its handle nor a path leads to it.
Result<void> dump_watched(FileDumpContext &context, const WatchedInode &watched, img::fh_entry *entry);
/// The same without writing anything, for `check --tree`.
Result<void> examine_watched(const FileOptions &options, const WatchedInode &watched);

/// Opens (O_PATH) what an entry of the image is about: by its path if that leads to the very inode, else by the handle,
/// else by the path all the same (the checkpoint has moved).
/// `root`: of the tree's files, as the caller gets there; empty where they are its own.
/// Errors: Unsupported if nothing is there.
Result<base::UniqueFd> open_watched(const std::string &root, const img::fh_entry &entry, uint64_t inode,
                                    uint64_t device);
/// Opens (O_PATH) a path of the tree without following a link at its end. On failure nothing, and errno.
base::UniqueFd open_in_tree(const std::string &root, const std::string &path);
/// Whether that can only be found out when the tree exists: what lies in /proc.
bool is_watched_late(const img::fh_entry &entry);

/// Files of the image that stand for deleted inodes, by device and inode. What FileOpenContext keeps carries them on to
/// the tasks, which cannot read images any more when their descriptors are in place.
struct WatchedGhosts {
    bool loaded = false;
    std::map<std::pair<uint64_t, uint64_t>, uint32_t> ids;
    std::optional<uint32_t> find(uint64_t inode, uint64_t device) const;
};
Result<void> load_watched_ghosts(WatchedGhosts &ghosts, const image::ImageDir &images, const Remaps &remaps);

/// How to name a descriptor of ours to a system call that takes a path.
std::string path_of_descriptor(int fd);

} // namespace resource
