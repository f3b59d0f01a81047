// What inotify and fanotify watch. The kernel tells inode, device and a file handle of it, never a path: the dump finds
// one, the restore takes whatever of path, handle and open file leads to the object.
//
// An open_by_handle_at(2) needs CAP_DAC_READ_SEARCH and a descriptor of any place of the file system; opening that is
// an event of its own, where somebody watches the root of a mount for being opened.
#pragma once

#include "base/result.hh"
#include "criu/parse/fdinfo.hh"
#include "criu/resource/file/file.hh"

#include <functional>

namespace resource {

/// An object as fdinfo tells it.
struct WatchedObject {
    uint64_t device = 0; ///< kernel-internal dev_t: major << 20 | minor
    uint64_t inode = 0;
    const parse::FileHandle *handle = nullptr;
};

/// Fills in how to find the object again. In finish(): objects without a name are known by files of the tree.
/// Errors: Unsupported where it could not be found.
Result<void> dump_watched(FileDumpContext &context, const WatchedObject &object, img::fh_entry *entry);

/// How to get at a file of the tree.
using Borrow = std::function<Result<base::UniqueFd>(uint32_t id)>;

/// An O_PATH descriptor of the object. `device` as in WatchedObject.
/// Errors: BadImage; System naming the object if it is not there any more.
Result<base::UniqueFd> open_watched(KindStates &states, const img::fh_entry &entry, uint64_t device, uint64_t inode,
                                    const Borrow &borrow);

/// Borrows what is open in the root task.
Borrow borrow_from(const FileOpenContext &context);

/// A mount of our mount namespace; nothing if there is none.
struct WatchedMount {
    int32_t id;
    std::string path;
};
Result<std::optional<WatchedMount>> mount_of(KindStates &states, int32_t id);
Result<std::optional<WatchedMount>> mount_of_device(KindStates &states, uint64_t device);

/// The path of an open descriptor in /proc, for calls that want a path.
std::string descriptor_path(int fd);

} // namespace resource
